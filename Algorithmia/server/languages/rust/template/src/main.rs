//! The program that the platform runs. With a `load` function: `serve_loaded(algorithm::load, algorithm::apply)`.

fn main() {
    algorithmia_runtime::serve(algorithm::apply)
}
