//! Grouped bars and histograms.

use super::{
    Axis, CHARACTER_WIDTH, Chart, FAINT, LEFT, Legend, Mark, Ticked, centred, colour, draw, nothing, number_label,
    range, shortened, small_text,
};
use plotters::prelude::*;

const WIDTH: i32 = 840;

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
    // Bars stand on zero: the margin of the range is needed on the other side only.
    let low = if low > -0.05 * high { 0.0 } else { low };
    let high = if high < -0.05 * low { 0.0 } else { high };
    let groups = spec.categories.len();
    let bar_width = 0.8 / spec.series.len() as f64;
    let names = spec.series.iter().enumerate().filter(|_| spec.series.len() > 1);
    let names = names.map(|(index, (name, _))| ((*name).to_owned(), colour(index).to_rgba(), Mark::Square));
    let legend = Legend::new(names, LEFT, WIDTH - 10);
    let axis = Ticked::new(Axis::Number, (low, high), 6);
    draw(WIDTH as u32, (290 + legend.height()) as u32, |area| {
        legend.draw(area)?;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_top(8 + legend.height())
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..groups as f64, axis)?;
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
        for (index, (_, values)) in spec.series.iter().enumerate() {
            let shade = colour(index);
            let rectangles = values.iter().enumerate().filter(|(_, value)| value.is_finite()).map(|(group, value)| {
                let left = group as f64 + 0.1 + bar_width * index as f64;
                Rectangle::new([(left, 0.0), (left + bar_width * 0.92, *value)], shade.filled())
            });
            chart.draw_series(rectangles)?;
        }
        let named = spec.categories.iter().filter(|name| !name.is_empty()).count().max(1);
        let room = (f64::from(WIDTH - LEFT) / named as f64 / CHARACTER_WIDTH) as usize;
        for (group, name) in spec.categories.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(group as f64 + 0.5, low));
            for (row, line) in two_lines(name, room.max(4)).into_iter().enumerate() {
                area.draw(&Text::new(line, (x, y + 6 + 15 * row as i32), centred()))?;
            }
        }
        Ok(())
    })
}

/// A name in at most two lines of `room` characters, broken at a space or after a hyphen where that is possible.
fn two_lines(name: &str, room: usize) -> Vec<String> {
    if name.chars().count() <= room {
        return vec![name.to_owned()];
    }
    let breaks = name.char_indices().filter(|(_, letter)| *letter == ' ' || *letter == '-');
    let halves =
        breaks.map(|(at, letter)| (name[..at + usize::from(letter == '-')].trim_end(), name[at + 1..].trim_start()));
    let longest = |(first, second): &(&str, &str)| first.chars().count().max(second.chars().count());
    match halves.min_by_key(longest) {
        Some((first, second)) => vec![shortened(first, room), shortened(second, room)],
        None => vec![shortened(name, room)],
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_break_at_words() {
        assert_eq!(two_lines("linear", 8), ["linear"]);
        assert_eq!(two_lines("same hour yesterday", 10), ["same hour", "yesterday"]);
        assert_eq!(two_lines("gradient-boosted", 10), ["gradient-", "boosted"]);
        assert_eq!(two_lines("Unterbrechungsfrei", 6), ["Unter…"]);
    }

    #[test]
    fn bars_below_zero_hang_from_it() {
        let chart = bars(&Bars { y_label: "skill", categories: &["a", "b"], series: &[("x", &[-0.2, -0.3])] });
        assert_eq!(chart.svg().matches("<rect").count(), 2, "{}", chart.svg());
    }
}
