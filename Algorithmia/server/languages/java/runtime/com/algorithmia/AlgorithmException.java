package com.algorithmia;

/** An exception whose type callers see as {@code error_type}; thrown by authors of algorithms. */
public class AlgorithmException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final String errorType;

    public AlgorithmException(String message) {
        this(message, "AlgorithmError", null);
    }

    public AlgorithmException(String message, Throwable cause) {
        this(message, "AlgorithmError", cause);
    }

    public AlgorithmException(String message, String errorType) {
        this(message, errorType, null);
    }

    public AlgorithmException(String message, String errorType, Throwable cause) {
        super(message, cause);
        this.errorType = errorType;
    }

    public String getErrorType() {
        return errorType;
    }
}
