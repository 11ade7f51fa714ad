package com.algorithmia.development;

/** The {@code main} of algorithms written for the Algorithm Development Kit: {@code new ADK<>(algorithm).init()}. */
public class ADK<INPUT, OUTPUT> extends Handler<INPUT, OUTPUT> {
    public ADK(AbstractAlgorithm<INPUT, OUTPUT> algorithm) {
        super(algorithm);
    }

    /** Answers requests from standard input until it ends. */
    public void init() {
        serve();
    }
}
