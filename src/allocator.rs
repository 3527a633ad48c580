//! The memory allocator, for whoever links this: the daemon, its tests and its benches. SQLite uses it too.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
