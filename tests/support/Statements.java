//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.function.UnaryOperator;

/** A wrapper between a store and its database: a test sees each statement before it runs. */
final class Statements {

    /**
     * Gets each statement on the thread that will execute it; may delay the statement, or make it
     * fail.
     */
    @FunctionalInterface
    interface Hook {
        void before(String sql) throws SQLException;
    }

    private Statements() {}

    /** A function that wraps a store's connections, so that {@code hook} sees their statements. */
    static UnaryOperator<Connection> seenBy(Hook hook) {
        return connection ->
                proxy(
                        Connection.class,
                        (proxy, method, arguments) -> {
                            if (method.getName().equals("commit")) {
                                hook.before("COMMIT");
                            }
                            Object result = invoke(connection, method::invoke, arguments);
                            return switch (result) {
                                case PreparedStatement prepared ->
                                        statement(
                                                PreparedStatement.class,
                                                prepared,
                                                (String) arguments[0],
                                                hook);
                                case Statement plain ->
                                        statement(Statement.class, plain, null, hook);
                                case null, default -> result;
                            };
                        });
    }

    private static <S extends Statement> S statement(
            Class<S> type, S statement, String prepared, Hook hook) {
        return proxy(
                type,
                (proxy, method, arguments) -> {
                    if (method.getName().startsWith("execute")) {
                        hook.before(prepared == null ? (String) arguments[0] : prepared);
                    }
                    return invoke(statement, method::invoke, arguments);
                });
    }

    @FunctionalInterface
    private interface Call {
        Object invoke(Object target, Object[] arguments) throws ReflectiveOperationException;
    }

    /** Throws the exception of the method, not reflection's exception around it. */
    private static Object invoke(Object target, Call method, Object[] arguments) throws Throwable {
        try {
            return method.invoke(target, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static <T> T proxy(Class<T> type, InvocationHandler handler) {
        return type.cast(
                Proxy.newProxyInstance(
                        Statements.class.getClassLoader(), new Class<?>[] {type}, handler));
    }
}
