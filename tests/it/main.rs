//! One integration binary: a module per feature, so that the edge is linked once.

mod token_forgeries;
mod token_vectors;
