package com.algorithmia.runner;

import com.algorithmia.development.Required;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonPrimitive;
import com.google.gson.TypeAdapter;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.File;
import java.io.IOException;
import java.io.StringReader;
import java.lang.reflect.Field;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.math.BigInteger;
import java.nio.file.Files;
import java.util.Base64;
import java.util.Collection;
import java.util.Map;

/** JSON and Java values: Gson's rules, whole numbers kept whole, nulls kept. */
public final class Values {
    public static final Gson GSON =
            new GsonBuilder()
                    .serializeNulls()
                    .disableHtmlEscaping()
                    .setObjectToNumberStrategy(Values::number)
                    .create();
    private static final TypeAdapter<JsonElement> ELEMENTS = GSON.getAdapter(JsonElement.class);

    private Values() {}

    /** One JSON text, strictly read. */
    public static JsonElement parse(String text) {
        try (JsonReader reader = new JsonReader(new StringReader(text))) {
            JsonElement value = ELEMENTS.read(reader);
            if (reader.peek() != JsonToken.END_DOCUMENT) {
                throw new JsonParseException("more than one JSON value");
            }
            return value;
        } catch (IOException failure) {
            throw new JsonParseException(failure);
        }
    }

    /** `data` as a value of `type`; a RuntimeException if it isn't one. */
    public static Object read(JsonElement data, Type type) {
        if (type instanceof Class && data.isJsonObject()) {
            checkRequired(data.getAsJsonObject(), (Class<?>) type);
        }
        return GSON.fromJson(data, type);
    }

    private static void checkRequired(JsonObject data, Class<?> type) {
        for (Field field : type.getDeclaredFields()) {
            if (field.isAnnotationPresent(Required.class) && !data.has(field.getName())) {
                throw new JsonParseException("the input has no field " + field.getName());
            }
        }
    }

    /** The answer that says `result`; `declared` is the type that the method says it returns. */
    public static JsonObject answer(Object result, Type declared, boolean isJsonText) throws IOException {
        if (result instanceof String && isJsonText) {
            return answer("json", parse((String) result));
        }
        if (result instanceof String || result instanceof Character) {
            return answer("text", new JsonPrimitive(result.toString()));
        }
        if (result instanceof byte[]) {
            return binary((byte[]) result);
        }
        if (result instanceof File) {
            return binary(Files.readAllBytes(((File) result).toPath()));
        }
        return answer("json", toJson(result, declared));
    }

    private static JsonObject binary(byte[] bytes) {
        return answer("binary", new JsonPrimitive(Base64.getEncoder().encodeToString(bytes)));
    }

    private static JsonObject answer(String contentType, JsonElement result) {
        JsonObject metadata = new JsonObject();
        metadata.addProperty("content_type", contentType);
        JsonObject answer = new JsonObject();
        answer.add("result", result);
        answer.add("metadata", metadata);
        return answer;
    }

    private static JsonElement toJson(Object result, Type declared) {
        if (result == null) {
            return JsonNull.INSTANCE;
        }
        boolean isTelling = !(declared instanceof Class) && !(declared instanceof TypeVariable);
        return GSON.toJsonTree(result, isTelling ? declared : known(result));
    }

    // Gson leaves out values of anonymous classes, such as `new HashMap<>() {{ ... }}`.
    private static Type known(Object result) {
        Class<?> type = result.getClass();
        if (type.isAnonymousClass() || type.isLocalClass()) {
            return result instanceof Map ? Map.class : result instanceof Collection ? Collection.class
                    : type.getSuperclass();
        }
        return type;
    }

    private static Number number(JsonReader reader) throws IOException {
        String text = reader.nextString();
        if (text.indexOf('.') >= 0 || text.indexOf('e') >= 0 || text.indexOf('E') >= 0) {
            return Double.valueOf(text);
        }
        return text.length() < 19 ? (Number) Long.valueOf(text) : shortest(new BigInteger(text));
    }

    private static Number shortest(BigInteger value) {
        return value.bitLength() < 64 ? (Number) value.longValue() : value;
    }
}
