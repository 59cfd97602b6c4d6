//! Grouped bars and histograms.

use super::{Chart, FAINT, INK, centred, colour, draw, nothing, number_label, range, small_text};
use plotters::prelude::*;

/// Bars of one or more series, grouped by category.
#[derive(Debug, Clone)]
pub struct Bars<'a> {
    /// What the vertical axis shows, with its unit.
    pub y_label: &'a str,
    /// Names below the groups.
    pub categories: &'a [&'a str],
    /// Name and one value per category; NaN draws no bar.
    pub series: &'a [(&'a str, &'a [f64])],
}

/// Draws grouped bars from zero.
pub fn bars(spec: &Bars<'_>) -> Chart {
    let values = spec.series.iter().flat_map(|(_, values)| values.iter().copied());
    let Some((low, high)) = range(values.chain([0.0])) else { return nothing() };
    if spec.categories.is_empty() || spec.series.is_empty() {
        return nothing();
    }
    // The legend stands above the highest bar.
    let (low, high) = (if low < 0.0 && low > -0.05 * high { 0.0 } else { low }, high * 1.15);
    let groups = spec.categories.len();
    let bar_width = 0.8 / spec.series.len() as f64;
    draw(900, 300, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(30)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..groups as f64, low..high)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .label_style(small_text())
            .x_labels(0)
            .y_labels(6)
            .y_desc(spec.y_label)
            .y_label_formatter(&|value| number_label(*value))
            .draw()?;
        for (index, (name, values)) in spec.series.iter().enumerate() {
            let shade = colour(index);
            let rectangles = values.iter().enumerate().filter(|(_, value)| value.is_finite()).map(|(group, value)| {
                let left = group as f64 + 0.1 + bar_width * index as f64;
                Rectangle::new([(left, 0.0), (left + bar_width * 0.92, *value)], shade.filled())
            });
            let drawn = chart.draw_series(rectangles)?;
            if spec.series.len() > 1 {
                drawn.label(*name).legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], shade.filled()));
            }
        }
        if spec.series.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .label_font(small_text())
                .border_style(INK.mix(0.0))
                .draw()?;
        }
        let longest = (130 / groups.max(1)).max(4);
        for (group, name) in spec.categories.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(group as f64 + 0.5, low));
            let text: String = if name.chars().count() > longest {
                name.chars().take(longest - 1).chain(['…']).collect()
            } else {
                (*name).to_owned()
            };
            area.draw(&Text::new(text, (x, y + 8), centred()))?;
        }
        Ok(())
    })
}

/// Draws how often values fall into `bins` equal bins between the smallest and the largest.
pub fn histogram(values: &[f64], bins: usize, y_label: &str) -> Chart {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let (Some(low), Some(high)) = (finite.iter().copied().reduce(f64::min), finite.iter().copied().reduce(f64::max))
    else {
        return nothing();
    };
    let bins = bins.max(1);
    let width = ((high - low) / bins as f64).max(f64::MIN_POSITIVE);
    let mut counts = vec![0.0; bins];
    for value in finite {
        counts[(((value - low) / width) as usize).min(bins - 1)] += 1.0;
    }
    // Only every few bins get a label, so that labels do not run into each other.
    let every = bins.div_ceil(12);
    let names: Vec<String> = (0..bins)
        .map(|bin| if bin % every == 0 { number_label(low + width * (bin as f64 + 0.5)) } else { String::new() })
        .collect();
    let categories: Vec<&str> = names.iter().map(String::as_str).collect();
    bars(&Bars { y_label, categories: &categories, series: &[("count", &counts)] })
}
