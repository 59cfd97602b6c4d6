//! A matrix of values as colours.

use super::{
    CHARACTER_WIDTH, Chart, INK, centred, draw, nothing, number_label, range, row_text, shortened, small_text,
};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A matrix of values: one row per name, one cell per column.
#[derive(Debug, Clone)]
pub struct Heatmap<'a> {
    /// Names left of the rows.
    pub rows: &'a [String],
    /// Names below the columns; an empty name is not written.
    pub columns: &'a [String],
    /// By row, then column; NaN is left blank.
    pub values: &'a [Vec<f64>],
    /// The values that get the first and the last colour; by default the smallest and the largest.
    pub limits: Option<(f64, f64)>,
    /// Writes each cell's value into it.
    pub numbers: bool,
    /// What the colours say, written above beside a scale; empty for none.
    pub legend: &'a str,
}

/// Draws a heat map from light (low) to dark (high); a missing value is left blank.
pub fn heatmap(spec: &Heatmap<'_>) -> Chart {
    let limits = spec.limits.or_else(|| range(spec.values.iter().flatten().copied()));
    let (Some((low, high)), false, false) = (limits, spec.rows.is_empty(), spec.columns.is_empty()) else {
        return nothing();
    };
    let top = if spec.legend.is_empty() { 6 } else { 28 };
    let (left, width) = (150, 900);
    let row_height = if spec.rows.len() > 40 { 12 } else { 20 };
    let cell = f64::from(width - left - 10) / spec.columns.len() as f64;
    // Names that are wider than their column are turned.
    let longest = spec.columns.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64;
    let named = spec.columns.iter().filter(|name| !name.is_empty()).count().max(1);
    let room = f64::from(width - left) / named as f64;
    let turned = longest * CHARACTER_WIDTH > room;
    let names_height = if turned { (longest * CHARACTER_WIDTH) as i32 + 12 } else { 26 };
    let bottom = top + row_height * spec.rows.len() as i32;
    draw(width as u32, (bottom + names_height) as u32, |area| {
        if !spec.legend.is_empty() {
            scale(area, spec.legend, left)?;
        }
        for (row, values) in spec.values.iter().enumerate().take(spec.rows.len()) {
            let y = top + row_height * row as i32;
            let style = row_text(row_height).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(shortened(&spec.rows[row], 22), (left - 6, y + row_height / 2), style))?;
            for (column, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                let share = ((value - low) / (high - low).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
                let x = |column: usize| left + (cell * column as f64).round() as i32;
                let corners = [(x(column), y), ((x(column + 1) - 1).max(x(column) + 1), y + row_height - 1)];
                area.draw(&Rectangle::new(corners, shade(share).filled()))?;
                if spec.numbers {
                    let text = if share > 0.45 { &WHITE } else { &BLACK };
                    let middle = ((x(column) + x(column + 1)) / 2, y + 4);
                    area.draw(&Text::new(number_label(*value), middle, centred().color(text)))?;
                }
            }
        }
        for (column, name) in spec.columns.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let x = left + (cell * (column as f64 + 0.5)) as i32;
            if turned {
                let font = ("sans-serif", 12).into_font().transform(FontTransform::Rotate270).color(&INK);
                area.draw(&Text::new(name.clone(), (x, bottom + 6), font.pos(Pos::new(HPos::Right, VPos::Center))))?;
            } else {
                area.draw(&Text::new(name.clone(), (x, bottom + 4), centred()))?;
            }
        }
        Ok(())
    })
}

/// The colours from low to high and what they say.
fn scale(area: &super::Drawing<'_>, legend: &str, left: i32) -> Result<(), Box<dyn std::error::Error>> {
    const STEPS: i32 = 24;
    for step in 0..STEPS {
        let x = left + step * 4;
        let colour = shade(f64::from(step) / f64::from(STEPS - 1));
        area.draw(&Rectangle::new([(x, 6), (x + 4, 17)], colour.filled()))?;
    }
    let style = small_text().pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(legend.to_owned(), (left + STEPS * 4 + 8, 12), style))?;
    Ok(())
}

/// From pale yellow over orange to dark red, ever darker, so that it reads without colour too.
fn shade(share: f64) -> RGBColor {
    const STOPS: [(f64, f64, f64); 4] =
        [(255.0, 247.0, 214.0), (253.0, 187.0, 99.0), (215.0, 82.0, 48.0), (103.0, 0.0, 31.0)];
    let place = share * (STOPS.len() - 1) as f64;
    let at = (place as usize).min(STOPS.len() - 2);
    let part = place - at as f64;
    let mix = |low: f64, high: f64| (low + (high - low) * part).round() as u8;
    let (from, to) = (STOPS[at], STOPS[at + 1]);
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}
