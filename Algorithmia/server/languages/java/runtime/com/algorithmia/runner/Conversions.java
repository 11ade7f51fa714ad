package com.algorithmia.runner;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.lang.reflect.Method;

/** How a language of the JVM turns JSON into arguments and results into answers. */
public interface Conversions {
    int UNFIT = 0;

    /** How well a JSON value suits a parameter: 10 is made for it, 2 takes anything, UNFIT never. */
    int fit(Class<?> type, JsonElement data);

    /** An argument; a RuntimeException if the value is not one. */
    Object read(JsonElement data, Method method, int parameter);

    /** The answer that says what the method returned. */
    JsonObject answer(Object result, Method method) throws Throwable;

    /** Throws what a method returned as its failure, in languages that do so. */
    default void check(Object result) throws Throwable {}
}
