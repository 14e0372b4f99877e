//! The zygote as a program of its own, for this crate's tests. In the store it is the `manta` executable.

fn main() {
    triton::zygote::main()
}
