//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import com.sun.security.auth.module.UnixSystem;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.Objects;

/** Files that a program keeps for its user alone, and sentences about errors of files. */
final class OwnFiles {
    /** Whether files have an owner, a group and permissions here. */
    static final boolean POSIX =
            FileSystems.getDefault().supportedFileAttributeViews().contains("posix");

    private OwnFiles() {}

    /**
     * Attributes for a new file or folder, so that it is private from the beginning.
     *
     * @param permissions such as {@code rw-------}; ignored on systems without permissions
     */
    static FileAttribute<?>[] only(String permissions) {
        var set = PosixFilePermissions.fromString(permissions);
        FileAttribute<?>[] only = {PosixFilePermissions.asFileAttribute(set)};
        return POSIX ? only : new FileAttribute<?>[0];
    }

    /**
     * Reads {@code file} after checks like the checks of ssh for a private key.
     *
     * @param forbidden the permission bits that the file may not have, such as 077; ignored on
     *     systems without permissions
     * @throws IOException if the file cannot be read; is larger than 64 KB; is not a regular file,
     *     since a pipe or a device could block for ever; has a forbidden permission; or belongs
     *     neither to this user nor to root
     */
    static byte[] read(Path file, int forbidden) throws IOException {
        BasicFileAttributes is = Files.readAttributes(file, BasicFileAttributes.class);
        if (!is.isRegularFile() || is.size() > 64 << 10) {
            throw new IOException("it is not a regular file of at most 64 KB");
        }
        int owner = POSIX ? (int) Files.getAttribute(file, "unix:uid") : 0;
        int mode = POSIX ? (int) Files.getAttribute(file, "unix:mode") & 0777 : 0;
        if ((mode & forbidden) != 0 || owner != 0 && owner != new UnixSystem().getUid()) {
            String sentence =
                    "others could read or change it: user %1$s owns it, with the mode %2$o. If it"
                            + " is yours, make it yours alone:"
                            + " chown $(id -u) '%3$s' && chmod 600 '%3$s'";
            throw new IOException(sentence.formatted(Files.getOwner(file), mode, file));
        }
        return Files.readAllBytes(file);
    }

    /** The reason of {@code e} in words. The message of some file exceptions is only a path. */
    static String reason(Throwable e) {
        String reason = Objects.requireNonNullElse(e.getMessage(), e.toString());
        if (e instanceof FileSystemException at && at.getReason() == null) {
            // AccessDeniedException becomes "access denied".
            String type = e.getClass().getSimpleName().replaceFirst("Exception$", "");
            reason += ": " + type.replaceAll("(?<=[a-z])(?=[A-Z])", " ").toLowerCase(Locale.ROOT);
        }
        return reason;
    }

    /** Closes {@code closeable}, which may be null, and ignores any failure. */
    static void closeQuietly(AutoCloseable closeable) {
        try {
            if (closeable != null) {
                closeable.close();
            }
        } catch (Exception e) {
            // Tolerated: the resource is not needed any more.
        }
    }
}
