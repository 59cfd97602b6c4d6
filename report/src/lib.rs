//! Self-contained HTML pages with SVG charts: one file, no script, nothing fetched, light and dark.
//!
//! ```
//! use report::{Page, Tone, chart};
//! let bars = chart::bars(&chart::Bars {
//!     y_label: "MAE (points)",
//!     categories: &["persistence", "boosted"],
//!     series: &[("1 h", &[4.1, 3.3])],
//! });
//! let html = Page::new("Load predictor", "nine nodes, eight days")
//!     .tile("MAE at 1 h", "3.3 points", Tone::Good)
//!     .section("Errors")
//!     .chart("Mean absolute error by model", bars)
//!     .html();
//! assert!(html.contains("<svg"));
//! ```

pub mod chart;
mod page;
mod text;

pub use chart::Chart;
pub use page::{Page, Table, Tone};
pub use text::printable;
