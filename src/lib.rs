pub mod path;
pub mod token;
