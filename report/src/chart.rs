//! Charts as SVG, drawn with plotters. They take the page's text colour, so they read on light and dark.

mod bars;
mod heatmap;
mod line;
mod scatter;
mod timeline;

pub use bars::{Bars, bars, histogram};
pub use heatmap::{Heatmap, heatmap};
pub use line::{Line, Lines, lines};
pub use scatter::{Scatter, scatter};
pub use timeline::{Timeline, TimelineBar, timeline};

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

/// What a horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axis {
    /// Milliseconds since the epoch, labelled as dates and times in UTC.
    Time,
    /// A plain number.
    #[default]
    Number,
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
    ("sans-serif", 12).into_font().color(&INK)
}

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

/// `2026-11-21 14:05` for a chart of hours, `11-21` for one of weeks.
fn time_label(ts: f64, width_ms: f64) -> String {
    const TWO_DAYS_MS: f64 = 172_800_000.0;
    let (date, minutes) = civil(ts as i64);
    if width_ms > 2.0 * TWO_DAYS_MS {
        date[5..].to_owned()
    } else {
        format!("{} {:02}:{:02}", &date[5..], minutes / 60, minutes % 60)
    }
}

/// Date and minute of day in UTC. Days to civil date after Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`.
fn civil(ts: i64) -> (String, i64) {
    let days = ts.div_euclid(86_400_000);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (format!("{year:04}-{month:02}-{day:02}"), ts.rem_euclid(86_400_000) / 60_000)
}

/// A number with as many digits as a reader needs.
fn number_label(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if size >= 1e9 {
        format!("{:.1}G", value / 1e9)
    } else if size >= 1e6 {
        format!("{:.1}M", value / 1e6)
    } else if size >= 1e4 {
        format!("{:.0}k", value / 1e3)
    } else if size >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if size >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
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

    #[test]
    fn dates_are_civil() {
        // date -u -d @1795219200 says 2026-11-21 00:00.
        assert_eq!(civil(1_795_219_200_000), ("2026-11-21".into(), 0));
        assert_eq!(civil(951_782_400_000).0, "2000-02-29");
    }
}
