//! Mechanics of the HTTP surface.
pub mod cursor;
