//! Stretches of time by row: lives, gaps, incidents.

use super::{Axis, Chart, FAINT, GOOD_GREY, Legend, Mark, colour, draw, nothing, time_label};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A stretch in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimelineBar {
    /// Index of its row.
    pub row: usize,
    /// Its start in milliseconds since the epoch.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// Index of its group. The first group is drawn pale, as the ground on which the others lie.
    pub group: usize,
}

/// Stretches of time by row.
#[derive(Debug, Clone)]
pub struct Timeline<'a> {
    /// Names left of the rows.
    pub rows: &'a [String],
    /// First and last moment of the axis, in milliseconds since the epoch.
    pub span: (f64, f64),
    /// Names of the groups, for the legend.
    pub groups: &'a [&'a str],
    /// The stretches; later ones are drawn over earlier ones.
    pub bars: &'a [TimelineBar],
}

/// Draws stretches of time. A stretch too short to be seen is drawn one pixel wide.
pub fn timeline(spec: &Timeline<'_>) -> Chart {
    let (start, end) = spec.span;
    if spec.rows.is_empty() || end.partial_cmp(&start) != Some(std::cmp::Ordering::Greater) {
        return nothing();
    }
    let row_height = if spec.rows.len() > 40 { 12 } else { 20 };
    let (left, width) = (150, 900);
    let right = width - 14;
    let place = |at: f64| {
        left + ((at - start) / (end - start) * f64::from(right - left)).clamp(0.0, f64::from(right - left)).round()
            as i32
    };
    let names = spec.groups.iter().enumerate();
    let names = names.map(|(group, name)| ((*name).to_owned(), group_colour(group), Mark::Square));
    let legend = Legend::new(names, left, width);
    let top = legend.height() + 6;
    let bottom = top + row_height * spec.rows.len() as i32;
    draw(width as u32, (bottom + 26) as u32, |area| {
        legend.draw(area)?;
        for at in Axis::Time.ticks(start, end, 9) {
            let x = place(at);
            area.draw(&PathElement::new([(x, top), (x, bottom + 4)], FAINT))?;
            area.draw(&Text::new(time_label(at, end - start), (x, bottom + 8), super::centred()))?;
        }
        for (row, name) in spec.rows.iter().enumerate() {
            let middle = top + row_height * row as i32 + row_height / 2;
            let style = super::row_text(row_height).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(super::shortened(name, 22), (left - 8, middle), style))?;
        }
        for bar in spec.bars.iter().filter(|bar| bar.row < spec.rows.len()) {
            let y = top + row_height * bar.row as i32;
            let (from, to) = (place(bar.start), place(bar.end));
            let corners = [(from, y + 2), (to.max(from + 1), y + row_height - 2)];
            area.draw(&Rectangle::new(corners, group_colour(bar.group).filled()))?;
        }
        Ok(())
    })
}

fn group_colour(group: usize) -> RGBAColor {
    if group == 0 { GOOD_GREY.mix(0.35) } else { colour(group).to_rgba() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_stretches_stay_visible_and_rows_have_names() {
        let rows = ["node-a".to_owned(), "node-b".to_owned()];
        let bars = [
            TimelineBar { row: 0, start: 0.0, end: 1e9, group: 0 },
            TimelineBar { row: 1, start: 5.0, end: 6.0, group: 1 },
        ];
        let chart = timeline(&Timeline { rows: &rows, span: (0.0, 1e9), groups: &["alive", "gap"], bars: &bars });
        for word in ["node-a", "node-b", "alive", "gap", "width=\"1\""] {
            assert!(chart.svg().contains(word), "{word} in {}", chart.svg());
        }
    }

    #[test]
    fn a_span_of_nothing_is_said() {
        let rows = ["a".to_owned()];
        for end in [0.0, f64::NAN] {
            assert!(
                timeline(&Timeline { rows: &rows, span: (0.0, end), groups: &[], bars: &[] }).svg().contains("no data")
            );
        }
    }
}
