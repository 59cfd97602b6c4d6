//! Tables for the terminal.

/// Lines up columns: text to the left, numbers to the right, two blanks in between.
pub fn text_table(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns = head.len();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric: Vec<bool> = (0..columns)
        .map(|column| {
            let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|cell| *cell != "-").peekable();
            cells.peek().is_some()
                && cells.all(|cell| {
                    cell.trim_start_matches(['+', '-']).starts_with(|first: char| first.is_ascii_digit())
                        && cell.parse::<f64>().is_ok()
                })
        })
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .enumerate()
            .take(columns)
            .map(|(column, cell)| {
                let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
                if numeric[column] { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
            })
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect()
}

/// A figure with `digits` decimals, `-` where there is none.
pub fn figure(value: Option<f64>, digits: usize) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// A time as `2026-11-21 03:30` UTC.
pub fn minute(ts: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ts)
        .map_or_else(|| ts.to_string(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_right_and_text_goes_left() {
        let rows = vec![vec!["cpu-1h".to_owned(), "3.41".to_owned()], vec!["memory".to_owned(), "-".to_owned()]];
        assert_eq!(
            text_table(&["head", "MAE points"], &rows),
            "head    MAE points\ncpu-1h        3.41\nmemory           -\n"
        );
        assert_eq!((figure(Some(1.26), 1), figure(Some(f64::NAN), 1)), ("1.3".to_owned(), "-".to_owned()));
        assert_eq!(minute(0), "1970-01-01 00:00");
    }
}
