package com.algorithmia.runner;

import com.algorithmia.algo.AcceptsJson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;

/** An author's class: its {@code apply} methods, and which of them an input is for. */
final class Application {
    private final Class<?> type;
    private final Object instance;
    private final Conversions conversions;
    private final List<Method> methods = new ArrayList<>();

    private Application(Class<?> type, Object instance, Conversions conversions) {
        this.type = type;
        this.instance = instance;
        this.conversions = conversions;
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

    static Application of(Object algorithm, Conversions conversions) {
        return new Application(algorithm.getClass(), algorithm, conversions);
    }

    static Application of(Class<?> type, Conversions conversions) throws ReflectiveOperationException {
        boolean isStatic =
                Arrays.stream(type.getDeclaredMethods())
                        .allMatch(m -> !m.getName().equals("apply") || Modifier.isStatic(m.getModifiers()));
        if (isStatic && type.getSuperclass() == Object.class) {
            return new Application(type, null, conversions);
        }
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return new Application(type, constructor.newInstance(), conversions);
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
                conversions.check(load.invoke(instance));
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
        byte[] binary = null;
        if (contentType.equals("binary")) {
            binary = decode(data);
        } else if (!contentType.equals("text") && !contentType.equals("json")) {
            throw new Failure("no content type " + contentType + ": it is text, json or binary", "ParsingError");
        }
        RuntimeException refused = null;
        for (Choice choice : choices(data, binary)) {
            Object[] arguments;
            try {
                arguments = arguments(choice, data, binary);
            } catch (RuntimeException failure) {
                refused = refused == null ? failure : refused;
                continue;
            }
            try {
                return conversions.answer(choice.method.invoke(instance, arguments), choice.method);
            } catch (InvocationTargetException failure) {
                throw failure.getCause();
            }
        }
        throw new Failure("the " + contentType + " input fits none of " + signatures()
                + (refused == null ? "" : ": " + refused.getMessage()), "InputError");
    }

    private String signatures() {
        return methods.stream()
                .map(m -> Arrays.stream(m.getGenericParameterTypes()).map(Type::getTypeName)
                        .collect(Collectors.joining(", ", "apply(", ")")))
                .collect(Collectors.joining(", "));
    }

    private static byte[] decode(JsonElement data) {
        try {
            return Base64.getMimeDecoder().decode(data.getAsString());
        } catch (RuntimeException failure) {
            throw new Failure("the data of a binary request is not base64", "ParsingError");
        }
    }

    private List<Choice> choices(JsonElement data, byte[] binary) {
        List<Choice> choices = new ArrayList<>();
        for (Method method : methods) {
            Class<?>[] parameters = method.getParameterTypes();
            if (parameters.length == 1) {
                choices.add(new Choice(method, fit(method, parameters[0], data, binary), false));
            }
            if (binary == null && data.isJsonArray() && data.getAsJsonArray().size() == parameters.length) {
                int lowest = 10;
                for (int i = 0; i < parameters.length; i++) {
                    lowest = Math.min(lowest, conversions.fit(parameters[i], data.getAsJsonArray().get(i)));
                }
                // [1, 2] is for apply(int, int) rather than for apply(Object), but [1] is for apply(Object).
                choices.add(new Choice(method, parameters.length == 1 ? Math.min(lowest, 1) : lowest, true));
            }
        }
        choices.removeIf(choice -> choice.fit == Conversions.UNFIT);
        choices.sort(Comparator.comparingInt(choice -> -choice.fit));
        return choices;
    }

    private int fit(Method method, Class<?> type, JsonElement data, byte[] binary) {
        boolean takesJsonText = method.isAnnotationPresent(AcceptsJson.class);
        if (binary != null) {
            return type == byte[].class ? 10 : type == Object.class ? 2 : Conversions.UNFIT;
        }
        return takesJsonText ? 10 : conversions.fit(type, data);
    }

    private Object[] arguments(Choice choice, JsonElement data, byte[] binary) {
        if (binary != null) {
            return new Object[] {binary};
        }
        if (choice.method.isAnnotationPresent(AcceptsJson.class)) {
            return new Object[] {Values.GSON.toJson(data)};
        }
        Object[] arguments = new Object[choice.method.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) {
            JsonElement value = choice.isSpread ? data.getAsJsonArray().get(i) : data;
            arguments[i] = conversions.read(value, choice.method, i);
        }
        return arguments;
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
    }
}
