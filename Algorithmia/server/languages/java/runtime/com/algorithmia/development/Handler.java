package com.algorithmia.development;

import com.algorithmia.runner.JavaConversions;
import com.algorithmia.runner.Runner;

/** The earlier name of what {@link ADK} does. */
public class Handler<INPUT, OUTPUT> {
    private final AbstractAlgorithm<INPUT, OUTPUT> algorithm;

    public Handler(AbstractAlgorithm<INPUT, OUTPUT> algorithm) {
        this.algorithm = algorithm;
    }

    /** Answers requests from standard input until it ends. */
    public void serve() {
        Runner.serve(algorithm, new JavaConversions());
    }
}
