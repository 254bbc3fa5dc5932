//! The daemon's numbers for Prometheus, and a page that says it lives.
//!
//! Off unless `metrics_address` is set: the numbers are nobody's secret, but a port is a port. There is no second set
//! of counters: a scrape asks for what `peel stats` shows and writes it down in the OpenMetrics text format, so that
//! the two can never disagree. docs/metrics.md lists all names.

mod collect;
mod server;

pub use server::{bind, serve};
