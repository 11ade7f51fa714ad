package com.algorithmia.runner;

import com.algorithmia.algo.ReturnsJson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.lang.reflect.Method;
import java.util.Collection;
import java.util.Map;

/** Java's own types, and classes as Gson reads and writes them. */
public class JavaConversions implements Conversions {
    @Override
    public Object read(JsonElement data, Method method, int parameter) {
        return Values.read(data, method.getGenericParameterTypes()[parameter]);
    }

    @Override
    public JsonObject answer(Object result, Method method) throws Throwable {
        return Values.answer(
                result, method.getGenericReturnType(), method.isAnnotationPresent(ReturnsJson.class));
    }

    @Override
    public int fit(Class<?> type, JsonElement data) {
        if (type == Object.class) {
            return 2;
        }
        if (JsonElement.class.isAssignableFrom(type)) {
            return type == JsonElement.class ? 3 : type.isInstance(data) ? 9 : UNFIT;
        }
        boolean isNumber = type.isPrimitive() ? type != boolean.class && type != char.class
                : Number.class.isAssignableFrom(type);
        boolean isBoolean = type == boolean.class || type == Boolean.class;
        boolean isText = CharSequence.class.isAssignableFrom(type) || type == char.class || type == Character.class;
        if (data.isJsonNull()) {
            return type.isPrimitive() ? UNFIT : isText || isNumber || isBoolean || type.isArray() ? 1 : 2;
        }
        if (data.isJsonPrimitive()) {
            JsonPrimitive value = data.getAsJsonPrimitive();
            if (value.isString()) {
                // Enums, dates and numbers in quotes may read it.
                return isText ? 10 : isBoolean || type.isArray() ? UNFIT : 1;
            }
            if (value.isBoolean()) {
                return isBoolean ? 10 : UNFIT;
            }
            return isNumber ? fitOfNumber(type, value.getAsString()) : UNFIT;
        }
        if (isNumber || isBoolean || isText) {
            return UNFIT;
        }
        boolean isList = type.isArray() || Collection.class.isAssignableFrom(type) || type == Iterable.class;
        if (data instanceof JsonArray) {
            return isList ? 8 : UNFIT;
        }
        return isList ? UNFIT : Map.class.isAssignableFrom(type) ? 7 : 8;
    }

    private static int fitOfNumber(Class<?> type, String text) {
        boolean isWhole = text.matches("-?[0-9]+");
        boolean takesFractions =
                type == double.class || type == Double.class || type == float.class || type == Float.class
                        || type == Number.class || type.getSimpleName().equals("BigDecimal");
        if (!isWhole) {
            return !takesFractions ? UNFIT : type == float.class || type == Float.class ? 8 : 10;
        }
        return takesFractions ? 7 : type == long.class || type == Long.class ? 10 : 9;
    }
}
