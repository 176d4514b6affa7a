//! The store: what may be kept and for how long, under which key, and within
//! which memory.
pub mod body;
pub mod budget;
pub mod cache_control;
mod chunk;
pub mod coding;
pub mod demand;
pub mod head;
pub mod ignore;
pub mod key;
pub mod lifetime;
pub mod live;
pub mod object;
pub mod purge;
pub mod slices;
pub mod store;
pub mod vary;
