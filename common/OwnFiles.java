//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import com.sun.security.auth.module.UnixSystem;

import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;

/** Files that both programs keep for their user alone, and sentences about files. */
final class OwnFiles {
    /** Whether files have an owner, a group and permissions here. */
    static final boolean POSIX =
            FileSystems.getDefault().supportedFileAttributeViews().contains("posix");

    private OwnFiles() {}

    /**
     * Attributes to create a file or folder with, so that no other user ever sees into it.
     *
     * @param permissions such as {@code rw-------}; ignored where files have none
     */
    static FileAttribute<?>[] only(String permissions) {
        FileAttribute<?>[] none = {};
        var only =
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(permissions));
        return POSIX ? new FileAttribute<?>[] {only} : none;
    }

    /**
     * Whether {@code file} certainly is not there. A link that leads nowhere is there, and nobody
     * knows what is in a folder that cannot be entered.
     */
    static boolean isAbsent(Path file) {
        Path folder = file.toAbsolutePath().getParent();
        return Files.notExists(file, LinkOption.NOFOLLOW_LINKS)
                && (folder == null || Files.isDirectory(folder) || isAbsent(folder));
    }

    /**
     * All of {@code file}. A pipe or a device could keep its reader waiting for ever.
     *
     * @throws IOException also when it is not a regular file, or larger than 64 KB
     */
    static byte[] read(Path file) throws IOException {
        BasicFileAttributes is = Files.readAttributes(file, BasicFileAttributes.class);
        if (!is.isRegularFile() || is.size() > 64 << 10) {
            throw new IOException("it is not a regular file of at most 64 KB");
        }
        return Files.readAllBytes(file);
    }

    /** The text in {@code file}; none, if it certainly is not there. */
    static String text(Path file) throws IOException {
        return isAbsent(file) ? "" : new String(read(file), StandardCharsets.UTF_8);
    }

    /** Adds {@code lines} to {@code file}, in one write; one that is new is its user's alone. */
    static void append(Path file, String lines) throws IOException {
        String text = text(file);
        String end = text.isEmpty() || text.endsWith("\n") ? "" : "\n";
        var append = Set.of(StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        try (var channel = Files.newByteChannel(file, append, only("rw-------"))) {
            Channels.newOutputStream(channel).write((end + lines).getBytes(StandardCharsets.UTF_8));
        }
    }

    /**
     * Checks of a private key what ssh and PostgreSQL check, where files have owners.
     *
     * @throws IOException when {@code file} belongs to another user, who is not root, or others may
     *     read or change it
     */
    static void requireOwn(Path file) throws IOException {
        int owner = POSIX ? (int) Files.getAttribute(file, "unix:uid") : 0;
        int mode = POSIX ? (int) Files.getAttribute(file, "unix:mode") & 0777 : 0;
        if ((mode & 077) != 0 || owner != 0 && owner != new UnixSystem().getUid()) {
            String sentence =
                    "others may know it: user %1$s owns it, with the mode %2$o. If it is yours,"
                            + " make it yours alone: chown $(id -u) '%3$s' && chmod 600 '%3$s'";
            throw new IOException(sentence.formatted(Files.getOwner(file), mode, file));
        }
    }

    /** Why {@code e} was thrown, in words: the message of some file exceptions is a path alone. */
    static String reason(Throwable e) {
        String reason = Objects.requireNonNullElse(e.getMessage(), e.toString());
        if (e instanceof FileSystemException at && at.getReason() == null) {
            // AccessDeniedException means "access denied".
            String type = e.getClass().getSimpleName().replaceFirst("Exception$", "");
            reason += ": " + type.replaceAll("(?<=[a-z])(?=[A-Z])", " ").toLowerCase(Locale.ROOT);
        }
        return reason;
    }

    /** Closes {@code closeable}, which may be null, whatever comes of it. */
    static void closeQuietly(AutoCloseable closeable) {
        try {
            if (closeable != null) {
                closeable.close();
            }
        } catch (Exception e) {
            // Tolerated: there is nothing more to be had from it.
        }
    }
}
