//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.nio.file.FileSystemException;
import java.nio.file.FileSystems;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.Objects;

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
        return POSIX
                ? new FileAttribute<?>[] {
                    PosixFilePermissions.asFileAttribute(
                            PosixFilePermissions.fromString(permissions))
                }
                : new FileAttribute<?>[0];
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
