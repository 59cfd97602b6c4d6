//! Lines over time or over a number, with optional bands.

use super::{
    Axis, Chart, FAINT, LEFT, Legend, Mark, Ticked, colour, draw, nothing, number_label, range, small_text, time_label,
};
use plotters::prelude::*;

const WIDTH: i32 = 840;

/// One line. A NaN is a gap in it.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Shown in the legend.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
    /// A band around or beside the line: x, lower and upper edge.
    pub band: Vec<(f64, f64, f64)>,
    /// Drawn as dashes, for limits and targets.
    pub dashed: bool,
}

/// A chart of lines.
#[derive(Debug, Clone, Default)]
pub struct Lines<'a> {
    /// What the vertical axis shows, with its unit.
    pub y_label: &'a str,
    /// What the horizontal axis shows, where it is not time.
    pub x_label: &'a str,
    /// What the horizontal axis counts.
    pub axis: Axis,
    /// The lines in the order of the legend.
    pub lines: Vec<Line>,
    /// Fixed lower and upper end of the vertical axis.
    pub y_range: Option<(f64, f64)>,
}

/// Draws a chart of lines.
pub fn lines(spec: &Lines<'_>) -> Chart {
    let points = || spec.lines.iter().flat_map(|line| line.points.iter());
    let bands = || spec.lines.iter().flat_map(|line| line.band.iter());
    let x = range(points().map(|point| point.0).chain(bands().map(|band| band.0)));
    let y =
        spec.y_range.or_else(|| range(points().map(|point| point.1).chain(bands().flat_map(|band| [band.1, band.2]))));
    let (Some(x), Some(y)) = (x, y) else { return nothing() };
    let named = spec.lines.iter().enumerate().filter(|(_, line)| !line.name.is_empty());
    let mark = |line: &Line| if line.dashed { Mark::Dashes } else { Mark::Line };
    let names = named.map(|(index, line)| (line.name.clone(), colour(index).to_rgba(), mark(line)));
    let legend = Legend::new(names, LEFT, WIDTH - 10);
    let axes = (Ticked::new(spec.axis, x, 8), Ticked::new(Axis::Number, y, 6));
    draw(WIDTH as u32, (290 + legend.height()) as u32, |area| {
        legend.draw(area)?;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_top(8 + legend.height())
            .margin_right(24)
            .x_label_area_size(34)
            .y_label_area_size(52)
            .build_cartesian_2d(axes.0, axes.1)?;
        let width = x.1 - x.0;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .label_style(small_text())
            .y_desc(spec.y_label)
            .x_desc(spec.x_label)
            .x_labels(9)
            .y_labels(6)
            .x_label_formatter(&|value| match spec.axis {
                Axis::Time => time_label(*value, width),
                Axis::Number => number_label(*value),
            })
            .y_label_formatter(&|value| number_label(*value))
            .draw()?;
        for (index, line) in spec.lines.iter().enumerate() {
            let shade = colour(index);
            if !line.band.is_empty() {
                let upper = line.band.iter().map(|band| (band.0, band.2));
                let lower = line.band.iter().rev().map(|band| (band.0, band.1));
                chart.draw_series(std::iter::once(Polygon::new(
                    upper.chain(lower).collect::<Vec<_>>(),
                    shade.mix(0.18),
                )))?;
            }
            let style = ShapeStyle { color: shade.to_rgba(), filled: false, stroke_width: 2 };
            for stretch in line.points.split(|point| !point.1.is_finite()).filter(|stretch| !stretch.is_empty()) {
                let stretch = stretch.to_vec();
                if line.dashed {
                    chart.draw_series(DashedLineSeries::new(stretch, 6, 4, style))?;
                } else {
                    chart.draw_series(LineSeries::new(stretch, style))?;
                }
            }
        }
        Ok(())
    })
}
