//! Charts as SVG, drawn with plotters. They take the page's text colour, so they read on light and dark.

mod axis;
mod bars;
mod heatmap;
mod legend;
mod line;
mod scatter;
mod timeline;

pub use axis::Axis;
pub use bars::{Bars, bars, histogram};
pub use heatmap::{Heatmap, heatmap};
pub use line::{Line, Lines, lines};
pub use scatter::{Scatter, scatter};
pub use timeline::{Timeline, TimelineBar, timeline};

use axis::{Ticked, number_label, time_label};
use legend::{LEFT, Legend, Mark};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A finished chart.
#[derive(Debug, Clone)]
pub struct Chart {
    svg: String,
}

impl Chart {
    /// The SVG element's text.
    pub fn svg(&self) -> &str {
        &self.svg
    }
}

/// Ink stands for the page's text colour and FAINT for its grid; both are replaced by `currentColor` at the end, since
/// plotters knows fixed colours only.
const INK: RGBColor = RGBColor(1, 2, 3);
const FAINT: RGBColor = RGBColor(1, 2, 4);

/// What is as it should be: visible on light and dark, and out of the way.
const GOOD_GREY: RGBColor = RGBColor(128, 140, 155);

/// Okabe and Ito's palette, which people with any colour vision can tell apart (Nature Methods 8, 441, 2011).
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(128, 128, 128),
];

fn colour(series: usize) -> RGBColor {
    PALETTE[series % PALETTE.len()]
}

type Drawing<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws on an area of `width` × `height` and returns the chart; a chart that cannot be drawn says so in its place.
fn draw(width: u32, height: u32, paint: impl FnOnce(&Drawing<'_>) -> Result<(), Box<dyn std::error::Error>>) -> Chart {
    let mut svg = String::new();
    let outcome = {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        paint(&area).and_then(|()| area.present().map_err(Into::into))
    };
    if let Err(error) = outcome {
        let message = error.to_string().replace('<', "&lt;").replace('&', "&amp;");
        return Chart { svg: format!("<p class=\"note bad\">this chart could not be drawn: {message}</p>") };
    }
    let fixed = format!("<svg width=\"{width}\" height=\"{height}\"");
    let svg = svg
        .replace(&fixed, "<svg role=\"img\"")
        .replace("#010203", "currentColor")
        .replace("\"#010204\"", "\"currentColor\" stroke-opacity=\"0.12\"")
        .replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    Chart { svg }
}

/// A chart for data that is not there.
fn nothing() -> Chart {
    Chart { svg: "<p class=\"note plain\">no data</p>".into() }
}

fn small_text() -> TextStyle<'static> {
    ("sans-serif", 13).into_font().color(&INK)
}

/// Of the small text, in pixels; a little more than the mean of common sans-serif fonts.
const CHARACTER_WIDTH: f64 = 6.9;

/// Text beside rows of this height.
fn row_text(row_height: i32) -> TextStyle<'static> {
    ("sans-serif", (row_height - 1).clamp(8, 12)).into_font().color(&INK)
}

/// A name that fits beside a row: with its end cut off where it is longer than `longest` characters.
fn shortened(name: &str, longest: usize) -> String {
    if name.chars().count() > longest {
        name.chars().take(longest - 1).chain(['…']).collect()
    } else {
        name.to_owned()
    }
}

fn centred() -> TextStyle<'static> {
    small_text().pos(Pos::new(HPos::Center, VPos::Top))
}

/// A range that holds all finite values, widened a little; `None` without any.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return None;
    }
    let margin = if high > low { (high - low) * 0.04 } else { (high.abs() * 0.05).max(0.5) };
    Some((low - margin, high + margin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_take_the_pages_colour_and_need_no_fixed_size() {
        let chart = bars(&Bars {
            y_label: "MAE",
            categories: &["a", "b"],
            series: &[("x", &[1.0, 2.0]), ("y", &[3.0, f64::NAN])],
        });
        assert!(chart.svg().contains("currentColor") && !chart.svg().contains("#01020"), "{}", chart.svg());
        assert!(!chart.svg().contains("http"), "{}", chart.svg());
    }

    #[test]
    fn no_data_is_said_not_drawn() {
        let empty = lines(&Lines { y_label: "cores", axis: Axis::Time, lines: vec![], ..Lines::default() });
        assert!(empty.svg().contains("no data"));
        assert!(range([f64::NAN].into_iter()).is_none());
    }
}
