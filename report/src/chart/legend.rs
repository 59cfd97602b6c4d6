//! Names of series above the plot, where they cover nothing.

use super::{Drawing, small_text};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// How a series looks in the plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Line,
    Dashes,
    Square,
    Dot,
}

/// The series' names, in as many rows as they need.
pub(super) struct Legend {
    entries: Vec<Entry>,
    rows: i32,
}

struct Entry {
    name: String,
    colour: RGBAColor,
    mark: Mark,
    x: i32,
    row: i32,
}

/// From the left edge of the drawing to the plot.
pub(super) const LEFT: i32 = 60;
const ROW_HEIGHT: i32 = 18;
const MARK_WIDTH: i32 = 18;

impl Legend {
    /// Lays the names out from `left` to `width`. No names, no space.
    pub fn new(names: impl IntoIterator<Item = (String, RGBAColor, Mark)>, left: i32, width: i32) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        let (mut x, mut row) = (left, 0);
        for (name, colour, mark) in names {
            let needed = MARK_WIDTH + 6 + (super::CHARACTER_WIDTH * name.chars().count() as f64) as i32;
            if x > left && x + needed > width {
                (x, row) = (left, row + 1);
            }
            entries.push(Entry { name, colour, mark, x, row });
            x += needed + 18;
        }
        let rows = entries.last().map_or(0, |entry| entry.row + 1);
        Self { entries, rows }
    }

    /// The height that it takes.
    pub fn height(&self) -> i32 {
        if self.rows == 0 { 0 } else { self.rows * ROW_HEIGHT + 6 }
    }

    /// Draws it along the upper edge.
    pub fn draw(&self, area: &Drawing<'_>) -> Result<(), Box<dyn std::error::Error>> {
        for entry in &self.entries {
            let (left, middle) = (entry.x, 12 + entry.row * ROW_HEIGHT);
            let right = left + MARK_WIDTH - 4;
            let stroke = ShapeStyle { color: entry.colour, filled: true, stroke_width: 2 };
            match entry.mark {
                Mark::Line => area.draw(&PathElement::new([(left, middle), (right, middle)], stroke))?,
                Mark::Dashes => {
                    area.draw(&PathElement::new([(left, middle), (left + 5, middle)], stroke))?;
                    area.draw(&PathElement::new([(right - 5, middle), (right, middle)], stroke))?;
                }
                Mark::Square => area.draw(&Rectangle::new([(left, middle - 5), (left + 12, middle + 6)], stroke))?,
                Mark::Dot => area.draw(&Circle::new((left + 6, middle), 4, stroke))?,
            }
            let style = small_text().pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(entry.name.clone(), (left + MARK_WIDTH, middle), style))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit_go_to_the_next_row() {
        let names =
            |count: usize| (0..count).map(|at| (format!("a rather long name {at}"), BLACK.to_rgba(), Mark::Line));
        assert_eq!(Legend::new(names(0), LEFT, 900).height(), 0);
        assert_eq!(Legend::new(names(3), LEFT, 900).height(), ROW_HEIGHT + 6);
        assert_eq!(Legend::new(names(8), LEFT, 900).height(), 2 * ROW_HEIGHT + 6);
    }
}
