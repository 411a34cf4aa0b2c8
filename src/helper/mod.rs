//! What runs inside the helper container.

pub mod health_check;
