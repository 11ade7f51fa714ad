package com.algorithmia.runner;

import com.google.gson.JsonObject;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Set;

/** Error answers: message, type, and a stack trace that ends where the author's code does. */
final class Failure extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final String type;

    /** A failure of the call that is not the algorithm's doing. */
    Failure(String message, String type) {
        super(message, null, false, false);
        this.type = type;
    }

    /** What `failure` is to the caller; of its own type if `type` is null. */
    static JsonObject document(Throwable failure, String type) {
        if (failure instanceof Failure) {
            return document(failure.getMessage(), ((Failure) failure).type, null);
        }
        Throwable thrown = withoutRunner(failure);
        String message = thrown.getMessage() == null ? thrown.getClass().getName() : thrown.getMessage();
        StringWriter trace = new StringWriter();
        thrown.printStackTrace(new PrintWriter(trace));
        return document(message, type == null ? typeOf(thrown) : type, trace.toString());
    }

    /** The stack trace in an error answer. */
    static String traceOf(JsonObject answer) {
        return answer.getAsJsonObject("error").get("stacktrace").getAsString().trim();
    }

    static JsonObject document(String message, String type, String trace) {
        JsonObject error = new JsonObject();
        error.addProperty("message", message);
        error.addProperty("error_type", type);
        if (trace != null) {
            error.addProperty("stacktrace", trace);
        }
        JsonObject answer = new JsonObject();
        answer.add("error", error);
        return answer;
    }

    /** What the author's code threw, without the frames of the runner that called it. */
    private static Throwable withoutRunner(Throwable failure) {
        Throwable thrown = failure;
        while (thrown instanceof InvocationTargetException && thrown.getCause() != null) {
            thrown = thrown.getCause();
        }
        if (thrown instanceof ExceptionInInitializerError && thrown.getCause() != null) {
            thrown = thrown.getCause();
        }
        Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
        for (Throwable one = thrown; one != null && seen.add(one); one = one.getCause()) {
            one.setStackTrace(authorsPart(one.getStackTrace()));
        }
        return thrown;
    }

    private static StackTraceElement[] authorsPart(StackTraceElement[] frames) {
        int end = 0;
        while (end < frames.length && !frames[end].getClassName().startsWith("com.algorithmia.runner.")) {
            end++;
        }
        while (end > 0 && end < frames.length && isReflection(frames[end - 1].getClassName())) {
            end--;
        }
        return end == 0 ? frames : Arrays.copyOf(frames, end);
    }

    private static boolean isReflection(String name) {
        return name.startsWith("java.lang.reflect.") || name.startsWith("jdk.internal.reflect.");
    }

    /** The author's word for it: what {@code getErrorType()} of the exception says. */
    private static String typeOf(Throwable thrown) {
        if (thrown instanceof OutOfMemoryError) {
            return "OutOfMemoryError";
        }
        try {
            Method method = thrown.getClass().getMethod("getErrorType");
            method.setAccessible(true);
            Object type = method.invoke(thrown);
            return type instanceof String ? (String) type : "AlgorithmError";
        } catch (ReflectiveOperationException | RuntimeException none) {
            return "AlgorithmError";
        }
    }
}
