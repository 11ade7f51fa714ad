package com.algorithmia.runner;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.PrintStream;
import java.io.Writer;
import java.nio.charset.StandardCharsets;

/** The documented protocol: requests as lines on standard input, answers into a FIFO. The program of every worker. */
public final class Runner {
    private Runner() {}

    /** {@code Runner CLASS}: serves the algorithm that this class is. */
    public static void main(String[] arguments) throws IOException {
        run(arguments[0], new JavaConversions());
    }

    /** Serves the algorithm that the class of this name is. */
    public static void run(String name, Conversions conversions) throws IOException {
        prepare();
        Application application;
        try {
            application = Application.of(Class.forName(name), conversions);
        } catch (Throwable failure) {
            refuse(failure);
            return;
        }
        serve(application);
    }

    /** Serves an algorithm that its own {@code main} made. */
    public static void serve(Object algorithm, Conversions conversions) {
        try {
            prepare();
            serve(Application.of(algorithm, conversions));
        } catch (IOException failure) {
            throw new IllegalStateException(failure);
        }
    }

    private static void prepare() throws IOException {
        // Neither follows the environment by itself: the character set of the streams, the place of temporary files.
        System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8"));
        System.setErr(new PrintStream(new FileOutputStream(FileDescriptor.err), true, "UTF-8"));
        String temporary = System.getenv("TMPDIR");
        if (temporary != null && !temporary.isEmpty()) {
            System.setProperty("java.io.tmpdir", temporary);
        }
        // The requests are not for the algorithm to read.
        System.setIn(new ByteArrayInputStream(new byte[0]));
    }

    private static void serve(Application application) throws IOException {
        try {
            application.load();
        } catch (Throwable failure) {
            refuse(failure);
        }
        System.err.flush();
        System.out.println("PIPE_INIT_COMPLETE");
        System.out.flush();
        BufferedReader requests =
                new BufferedReader(
                        new InputStreamReader(new FileInputStream(FileDescriptor.in), StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String answer = answer(application, line);
            System.err.flush();
            System.out.flush();
            write(answer);
        }
        // Threads that the algorithm left behind must not keep the process.
        System.exit(0);
    }

    private static void refuse(Throwable failure) {
        JsonObject answer = Failure.document(failure, "LoadingError");
        System.err.println(Failure.traceOf(answer));
        System.err.flush();
        System.out.flush();
        // For whoever listens already: opening a FIFO waits for a reader, and this must not.
        Thread writer =
                new Thread(
                        () -> {
                            try {
                                write(Values.GSON.toJson(answer));
                            } catch (IOException nobody) {
                                return;
                            }
                        });
        writer.setDaemon(true);
        writer.start();
        try {
            writer.join(1000);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        System.exit(1);
    }

    /** The answer in full, before any of it is written: it may turn out that JSON can't say it. */
    private static String answer(Application application, String line) {
        try {
            return Values.GSON.toJson(outcome(application, line));
        } catch (Throwable failure) {
            return Values.GSON.toJson(Failure.document(failure, null));
        }
    }

    private static JsonObject outcome(Application application, String line) {
        String contentType;
        JsonElement data;
        try {
            JsonObject request = Values.parse(line).getAsJsonObject();
            contentType = request.get("content_type").getAsJsonPrimitive().getAsString();
            data = request.get("data");
            if (data == null) {
                throw new IllegalStateException("it has no data");
            }
        } catch (RuntimeException | StackOverflowError failure) {
            return Failure.document("the request is not a JSON object with content_type and data: " + failure.getMessage(),
                    "ParsingError", null);
        }
        try {
            return application.apply(contentType, data);
        } catch (Throwable failure) {
            return Failure.document(failure, null);
        }
    }

    private static void write(String answer) throws IOException {
        String path = System.getenv("ALGORITHMIA_OUTPUT_FIFO");
        File fifo = new File(path == null || path.isEmpty() ? "/tmp/algoout" : path);
        if (!fifo.exists()) {
            // On the author's machine: a person reads the answer.
            System.out.println(answer);
            return;
        }
        try (Writer writer =
                new BufferedWriter(
                        new OutputStreamWriter(new FileOutputStream(fifo), StandardCharsets.UTF_8), 1 << 16)) {
            writer.write(answer);
            writer.write('\n');
        }
    }
}
