package com.algorithmia.algorithm;

/** __ALGO__: each call runs the apply that suits its input. */
public class Algorithm {
    /** For text. */
    public String apply(String input) {
        return "hello " + input;
    }

    /** For JSON objects such as {"first_name": "Ada", "last_name": "Lovelace"}. */
    public String apply(Name input) {
        return apply(input.last_name == null ? input.first_name : input.first_name + " " + input.last_name);
    }

    public static class Name {
        public String first_name;
        public String last_name;
    }
}
