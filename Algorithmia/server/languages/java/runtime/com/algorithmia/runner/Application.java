package com.algorithmia.runner;

import com.algorithmia.algo.AcceptsJson;
import com.algorithmia.algo.ReturnsJson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** An author's class: its {@code apply} methods, and which of them an input is for. */
final class Application {
    private static final int UNFIT = 0;
    private final Class<?> type;
    private final Object instance;
    private final List<Method> methods = new ArrayList<>();

    private Application(Class<?> type, Object instance) {
        this.type = type;
        this.instance = instance;
        // The class's own first, then what it inherits.
        for (Class<?> one = type; one != null && one != Object.class; one = one.getSuperclass()) {
            Method[] declared = one.getDeclaredMethods();
            Arrays.sort(declared, Comparator.comparing(Method::toString));
            for (Method method : declared) {
                boolean isApply = method.getName().equals("apply") && method.getParameterCount() > 0;
                int without = Modifier.PRIVATE | Modifier.ABSTRACT;
                if (isApply && !method.isBridge() && (method.getModifiers() & without) == 0 && !isOverridden(method)) {
                    method.setAccessible(true);
                    methods.add(method);
                }
            }
        }
        if (methods.isEmpty()) {
            throw new IllegalStateException("class " + type.getName() + " has no method apply: write one");
        }
    }

    static Application of(Object algorithm) {
        return new Application(algorithm.getClass(), algorithm);
    }

    static Application of(Class<?> type) throws ReflectiveOperationException {
        boolean needsInstance =
                Arrays.stream(type.getDeclaredMethods())
                        .anyMatch(m -> m.getName().equals("apply") && !Modifier.isStatic(m.getModifiers()));
        if (!needsInstance && type.getSuperclass() == Object.class) {
            return new Application(type, null);
        }
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return new Application(type, constructor.newInstance());
        } catch (NoSuchMethodException none) {
            throw new IllegalStateException("class " + type.getName() + " needs a constructor without parameters");
        }
    }

    private boolean isOverridden(Method method) {
        return methods.stream().anyMatch(m -> Arrays.equals(m.getParameterTypes(), method.getParameterTypes()));
    }

    /** Runs the author's {@code load()}, if there is one. */
    void load() throws Throwable {
        for (Class<?> one = type; one != null && one != Object.class; one = one.getSuperclass()) {
            try {
                Method load = one.getDeclaredMethod("load");
                load.setAccessible(true);
                load.invoke(instance);
                return;
            } catch (NoSuchMethodException none) {
                continue;
            } catch (InvocationTargetException failure) {
                throw failure.getCause();
            }
        }
    }

    /** Calls the method that suits the input best; what it returned, as an answer. */
    JsonObject apply(String contentType, JsonElement data) throws Throwable {
        Object binary = null;
        if (contentType.equals("binary")) {
            binary = decode(data);
        } else if (!contentType.equals("text") && !contentType.equals("json")) {
            throw new Failure("no content type " + contentType + ": it is text, json or binary", "ParsingError");
        }
        RuntimeException refused = null;
        for (Choice choice : choices(data, binary)) {
            Object[] arguments;
            try {
                arguments = choice.arguments(data, binary);
            } catch (RuntimeException failure) {
                refused = refused == null ? failure : refused;
                continue;
            }
            try {
                Object result = choice.method.invoke(instance, arguments);
                return Values.answer(
                        result,
                        choice.method.getGenericReturnType(),
                        choice.method.isAnnotationPresent(ReturnsJson.class));
            } catch (InvocationTargetException failure) {
                throw failure.getCause();
            }
        }
        String takes =
                methods.stream()
                        .map(m -> Arrays.stream(m.getGenericParameterTypes()).map(Type::getTypeName)
                                .collect(Collectors.joining(", ", "apply(", ")")))
                        .collect(Collectors.joining(", "));
        throw new Failure("the " + contentType + " input fits none of " + takes
                + (refused == null ? "" : ": " + refused.getMessage()), "InputError");
    }

    private static byte[] decode(JsonElement data) {
        try {
            return Base64.getMimeDecoder().decode(data.getAsString().replaceAll("\\s", ""));
        } catch (RuntimeException failure) {
            throw new Failure("the data of a binary request is not base64", "ParsingError");
        }
    }

    private List<Choice> choices(JsonElement data, Object binary) {
        List<Choice> choices = new ArrayList<>();
        for (Method method : methods) {
            Class<?>[] parameters = method.getParameterTypes();
            if (parameters.length == 1) {
                int fit = binary != null ? fitOfBinary(parameters[0]) : fit(parameters[0], data);
                if (method.isAnnotationPresent(AcceptsJson.class)) {
                    fit = binary == null ? 10 : UNFIT;
                }
                choices.add(new Choice(method, fit, false));
            }
            if (binary == null && data.isJsonArray() && data.getAsJsonArray().size() == parameters.length) {
                int lowest = 10;
                for (int i = 0; i < parameters.length; i++) {
                    lowest = Math.min(lowest, fit(parameters[i], data.getAsJsonArray().get(i)));
                }
                // [1, 2] is for apply(int, int) rather than for apply(int[]), but [1] is for apply(int[]).
                choices.add(new Choice(method, parameters.length == 1 ? Math.min(lowest, 1) : lowest, true));
            }
        }
        choices.removeIf(choice -> choice.fit == UNFIT);
        choices.sort(Comparator.comparingInt(choice -> -choice.fit));
        return choices;
    }

    private static int fitOfBinary(Class<?> type) {
        return type == byte[].class ? 10 : type == Object.class ? 2 : UNFIT;
    }

    /** How well a JSON value suits a parameter: 10 is made for it, 2 takes anything, 0 never. */
    private static int fit(Class<?> type, JsonElement data) {
        if (type == Object.class) {
            return 2;
        }
        if (JsonElement.class.isAssignableFrom(type)) {
            return type.isInstance(data) ? 9 : type == JsonElement.class ? 3 : UNFIT;
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
                return isText ? 10 : isBoolean || type.isArray() || type == byte[].class ? UNFIT : 1;
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

    /** A method, how well it suits the input, and whether the input's items are its arguments. */
    private static final class Choice {
        final Method method;
        final int fit;
        final boolean isSpread;

        Choice(Method method, int fit, boolean isSpread) {
            this.method = method;
            this.fit = fit;
            this.isSpread = isSpread;
        }

        Object[] arguments(JsonElement data, Object binary) {
            if (binary != null) {
                return new Object[] {binary};
            }
            if (method.isAnnotationPresent(AcceptsJson.class)) {
                return new Object[] {Values.GSON.toJson(data)};
            }
            Type[] types = method.getGenericParameterTypes();
            Object[] arguments = new Object[types.length];
            for (int i = 0; i < types.length; i++) {
                arguments[i] = Values.read(isSpread ? data.getAsJsonArray().get(i) : data, types[i]);
            }
            return arguments;
        }
    }
}
