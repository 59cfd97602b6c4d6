//! The page: title, tiles with key figures, sections with text, tables and charts.

use crate::{Chart, printable};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What a value says about the state of things; it chooses the colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// No judgement.
    #[default]
    Plain,
    /// As wanted.
    Good,
    /// Worth a look.
    Warn,
    /// Not as it must be.
    Bad,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A table. Columns of numbers are set flush right.
#[derive(Debug, Clone, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row of plain cells.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) -> &mut Self {
        self.toned_row(cells.into_iter().map(|cell| (cell, Tone::Plain)))
    }

    /// Adds a row in which each cell has a tone.
    pub fn toned_row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = (T, Tone)>) -> &mut Self {
        self.rows.push(cells.into_iter().map(|(cell, tone)| (cell.into(), tone)).collect());
        self
    }

    /// The table as Markdown, for terminals and documents.
    pub fn markdown(&self) -> String {
        // One line for each row, whatever its cells hold.
        let line = |cells: Vec<&str>| format!("| {} |\n", printable(&cells.join(" | ")).replace('\n', " "));
        let mut text = line(self.head.iter().map(String::as_str).collect());
        text.push_str(&line(self.head.iter().map(|_| "---").collect()));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|(cell, _)| cell.as_str()).collect()));
        }
        text
    }

    fn markup(&self) -> Markup {
        let width = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.head.len());
        let numeric: Vec<bool> = (0..width).map(|column| self.is_numeric(column)).collect();
        let class = |column: usize, tone: Tone, cell: &str| {
            let is_numeric = numeric.get(column).copied().unwrap_or(false);
            let form = if is_numeric {
                " number"
            } else if cell.chars().count() <= UNBROKEN {
                " short"
            } else {
                ""
            };
            format!("{}{form}", tone.class())
        };
        html! {
            div.scroll {
                table {
                    thead { tr { @for (column, head) in self.head.iter().enumerate() { th class=[head_class(numeric.get(column))] { (head) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr { @for (column, (cell, tone)) in row.iter().enumerate() { td class=(class(column, *tone, cell)) { (cell) } } }
                        }
                    }
                }
            }
        }
    }

    /// Whether a column holds numbers: then they are set flush right, so that their digits stand below each other.
    fn is_numeric(&self, column: usize) -> bool {
        let cells = || self.rows.iter().filter_map(|row| row.get(column)).map(|(cell, _)| cell.as_str());
        cells().any(is_number) && cells().all(|cell| is_number(cell) || cell.is_empty() || cell == "-" || cell == "–")
    }
}

/// Cells up to this many characters stay on one line: browsers break names at their hyphens otherwise.
const UNBROKEN: usize = 26;

fn head_class(is_numeric: Option<&bool>) -> Option<&'static str> {
    is_numeric.copied().unwrap_or(false).then_some("number")
}

/// A number with at most a short unit: `3.4`, `-12`, `96.96 %`, `1.2 GiB`, `±0.3`, `3 h 20 min`. A date is none.
fn is_number(cell: &str) -> bool {
    let starts =
        cell.trim_start_matches(['-', '−', '+', '±', '<', '>', '~']).starts_with(|first: char| first.is_ascii_digit());
    let is_date = cell.len() >= 10 && cell.as_bytes().get(4) == Some(&b'-') && cell.as_bytes().get(7) == Some(&b'-');
    let words = cell.split_whitespace().filter(|word| word.starts_with(char::is_alphabetic));
    starts && !is_date && words.fold(0, |letters, word| letters + word.chars().count()) <= 6
}

/// A page under construction.
#[derive(Debug, Clone, Default)]
pub struct Page {
    title: String,
    subtitle: String,
    tiles: Vec<(String, String, Tone)>,
    blocks: Vec<String>,
}

impl Page {
    /// A page with a title and one line on what it is about.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>) -> Self {
        Self { title: title.into(), subtitle: subtitle.into(), ..Self::default() }
    }

    /// Adds a key figure to the row below the title.
    pub fn tile(mut self, name: impl Into<String>, value: impl Into<String>, tone: Tone) -> Self {
        self.tiles.push((name.into(), value.into(), tone));
        self
    }

    /// Starts a section.
    pub fn section(self, heading: &str) -> Self {
        self.block(html! { h2 { (heading) } })
    }

    /// Adds a paragraph.
    pub fn text(self, text: &str) -> Self {
        self.block(html! { p { (text) } })
    }

    /// Adds a paragraph that stands out.
    pub fn note(self, text: &str, tone: Tone) -> Self {
        self.block(html! { p class=(format!("note {}", tone.class())) { (text) } })
    }

    /// Adds a table.
    pub fn table(self, table: &Table) -> Self {
        self.block(table.markup())
    }

    /// Adds a table that is folded away until someone opens it.
    pub fn folded_table(self, summary: &str, table: &Table) -> Self {
        self.block(html! { details { summary { (summary) } (table.markup()) } })
    }

    /// Adds a chart with its caption.
    pub fn chart(self, caption: &str, chart: Chart) -> Self {
        self.block(figure(caption, &chart))
    }

    /// Adds charts that stand side by side where there is room.
    pub fn charts<'a>(self, charts: impl IntoIterator<Item = (&'a str, Chart)>) -> Self {
        self.block(html! { div.grid { @for (caption, chart) in charts { (figure(caption, &chart)) } } })
    }

    fn block(mut self, markup: Markup) -> Self {
        self.blocks.push(markup.into_string());
        self
    }

    /// The finished page.
    pub fn html(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        header { h1 { (self.title) } p.subtitle { (self.subtitle) } }
                        @if !self.tiles.is_empty() {
                            div.tiles {
                                @for (name, value, tone) in &self.tiles {
                                    div class=(format!("tile {}", tone.class())) { span.value { (value) } span.name { (name) } }
                                }
                            }
                        }
                        @for block in &self.blocks { (PreEscaped(block)) }
                    }
                }
            }
        }
        .into_string()
    }
}

fn figure(caption: &str, chart: &Chart) -> Markup {
    html! { figure { figcaption { (caption) } (PreEscaped(chart.svg())) } }
}

const STYLE: &str = "
:root { color-scheme: light dark; --back: #f6f7f9; --card: #ffffff; --ink: #1c2430; --soft: #5b6778; --line: #dde2e9;
  --good: #1a7f4b; --warn: #9a6700; --bad: #c0362c; }
@media (prefers-color-scheme: dark) { :root { --back: #12161c; --card: #1b212a; --ink: #e6eaf0; --soft: #9aa6b6; --line: #303947;
  --good: #4cc38a; --warn: #e2b340; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 19px; margin: 36px 0 8px; }
.subtitle { color: var(--soft); margin: 4px 0 20px; } p { max-width: 78ch; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; min-width: 150px; flex: 1; }
.tile .value { display: block; font-size: 22px; font-weight: 600; } .tile .name { color: var(--soft); font-size: 13px; }
.tile.good .value, td.good { color: var(--good); } .tile.warn .value, td.warn { color: var(--warn); }
.tile.bad .value, td.bad { color: var(--bad); font-weight: 600; }
.note { background: var(--card); border-left: 4px solid var(--soft); padding: 10px 14px; border-radius: 6px; }
.note.good { border-color: var(--good); } .note.warn { border-color: var(--warn); } .note.bad { border-color: var(--bad); }
figure { margin: 14px 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; }
figcaption { color: var(--soft); font-size: 13px; margin-bottom: 6px; } svg { width: 100%; max-width: 1040px; height: auto; display: block; margin: 0 auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px; } .grid figure { margin: 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin: 10px 0; font-size: 14px; }
th, td { padding: 5px 8px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .number { text-align: right; font-variant-numeric: tabular-nums; } td.number, td.short { white-space: nowrap; }
details { margin: 12px 0; } summary { cursor: pointer; color: var(--soft); }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_nothing_is_fetched() {
        let html = Page::new("<b>", "a & b").note("x < y", Tone::Bad).html();
        assert!(html.contains("&lt;b&gt;") && html.contains("a &amp; b") && html.contains("x &lt; y"), "{html}");
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"), "{html}");
    }

    #[test]
    fn only_whole_columns_of_numbers_are_set_flush_right() {
        let mut table = Table::new(["what", "error", "when"]);
        table.row(["12 of 30 nodes were silent", "3.4 points", "2026-11-21 14:05"]);
        table.row(["7", "-", "2026-11-22 14:05"]);
        let html = table.markup().into_string();
        assert_eq!(html.matches("<td class=\"plain number\">").count(), 2, "{html}");
        for (cell, wanted) in
            [("±0.3", true), ("96.96 %", true), ("3 h 20 min", true), ("p50", false), ("1 stretch: a", false)]
        {
            assert_eq!(is_number(cell), wanted, "{cell}");
        }
    }

    #[test]
    fn a_table_reads_as_markdown_too() {
        let mut table = Table::new(["model", "MAE"]);
        table.row(["persistence", "4.1"]);
        assert_eq!(table.markdown(), "| model | MAE |\n| --- | --- |\n| persistence | 4.1 |\n");
    }
}
