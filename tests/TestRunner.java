///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Runs every test in tests/
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES *Test.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/** Every test in one jar, which {@link TestMain} scans: a new {@code *Test.java} needs no entry. */
final class TestRunner {}
