//! Points of one or more groups.

use super::{
    Axis, Chart, FAINT, INK, LEFT, Legend, Mark, Ticked, colour, draw, nothing, number_label, range, small_text,
};
use plotters::prelude::*;

/// A scatter chart.
#[derive(Debug, Clone, Default)]
pub struct Scatter<'a> {
    /// What the horizontal axis shows, with its unit.
    pub x_label: &'a str,
    /// What the vertical axis shows, with its unit.
    pub y_label: &'a str,
    /// Name and points of each group.
    pub groups: Vec<(String, Vec<(f64, f64)>)>,
    /// Draws the line y = x, where a forecast equals what was observed.
    pub diagonal: bool,
}

/// Draws points.
pub fn scatter(spec: &Scatter<'_>) -> Chart {
    let points = || spec.groups.iter().flat_map(|(_, points)| points.iter());
    let (Some(x), Some(y)) = (range(points().map(|point| point.0)), range(points().map(|point| point.1))) else {
        return nothing();
    };
    let names = spec.groups.iter().enumerate().filter(|_| spec.groups.len() > 1);
    let names = names.map(|(index, (name, _))| (name.clone(), colour(index).to_rgba(), Mark::Dot));
    let legend = Legend::new(names, LEFT, 610);
    let axes = (Ticked::new(Axis::Number, x, 8), Ticked::new(Axis::Number, y, 8));
    draw(620, (370 + legend.height()) as u32, |area| {
        legend.draw(area)?;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_top(8 + legend.height())
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(axes.0, axes.1)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .label_style(small_text())
            .x_desc(spec.x_label)
            .y_desc(spec.y_label)
            .x_label_formatter(&|value| number_label(*value))
            .y_label_formatter(&|value| number_label(*value))
            .draw()?;
        if spec.diagonal {
            let (low, high) = (x.0.max(y.0), x.1.min(y.1));
            chart.draw_series(LineSeries::new([(low, low), (high, high)], INK.mix(0.5)))?;
        }
        for (index, (_, points)) in spec.groups.iter().enumerate() {
            let shade = colour(index);
            let finite = points.iter().filter(|point| point.0.is_finite() && point.1.is_finite());
            chart.draw_series(finite.map(|point| Circle::new(*point, 2, shade.mix(0.5).filled())))?;
        }
        Ok(())
    })
}
