package com.algorithmia.algorithm;

/** Run it with {@code java -ea}, as README.md says. */
public class AlgorithmTest {
    public static void main(String[] arguments) {
        Algorithm algorithm = new Algorithm();
        assert algorithm.apply("world").equals("hello world");

        Algorithm.Name name = new Algorithm.Name();
        name.first_name = "Ada";
        name.last_name = "Lovelace";
        assert algorithm.apply(name).equals("hello Ada Lovelace");
        System.out.println("passed");
    }
}
