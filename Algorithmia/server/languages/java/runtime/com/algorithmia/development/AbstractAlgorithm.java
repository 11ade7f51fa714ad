package com.algorithmia.development;

/** What an algorithm may extend; a class with {@code apply} methods need not. */
public abstract class AbstractAlgorithm<INPUT, OUTPUT> {
    public abstract OUTPUT apply(INPUT input);

    /** Runs once, before the first call. */
    public void load() {}
}
