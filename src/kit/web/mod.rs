//! What every page and endpoint shares.

pub mod render;
