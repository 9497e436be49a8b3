//JAVA 21+
//DEPS org.jfree:jfreechart:1.5.6
//DEPS org.jfree:org.jfree.svg:5.0.7
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.jfree.chart.JFreeChart;
import org.jfree.chart.annotations.XYTextAnnotation;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.chart.ui.RectangleInsets;
import org.jfree.chart.ui.TextAnchor;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;
import org.jfree.svg.SVGGraphics2D;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.DecimalFormat;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;

import javax.imageio.ImageIO;

/** One page that tells the story of {@link Threads} from the back row. */
final class Plot {
    private static final int WIDTH = 1200;
    private static final int HEIGHT = 620;
    private static final int TITLE = 96;
    private static final Color INK = new Color(0x1f2328);
    private static final Color GRID = new Color(0xe1e4e8);

    /** Told apart by those who see colours differently, too. */
    private static final Map<String, Color> COLORS =
            Map.of(
                    "fork", new Color(0x6e7781),
                    "platform threads", new Color(0xd55e00),
                    "ours, platform", new Color(0xe69f00),
                    "virtual threads", new Color(0x56b4e9),
                    "ours, virtual", new Color(0x0072b2));

    private Plot() {}

    /** Writes {@code threads.svg} and {@code threads.png}. */
    static void draw(List<Threads.Point> points, Path folder) throws IOException {
        System.setProperty("java.awt.headless", "true");
        var svg = new SVGGraphics2D(WIDTH, HEIGHT);
        page(svg, points);
        Files.writeString(folder.resolve("threads.svg"), svg.getSVGDocument());
        var image = new BufferedImage(2 * WIDTH, 2 * HEIGHT, BufferedImage.TYPE_INT_RGB);
        var graphics = image.createGraphics();
        graphics.scale(2, 2);
        page(graphics, points);
        ImageIO.write(image, "png", folder.resolve("threads.png").toFile());
        System.out.println("Drawn: " + folder.resolve("threads.svg") + ", threads.png");
    }

    private static Font font(int style, int size) {
        return new Font(Font.SANS_SERIF, style, size);
    }

    private static void page(Graphics2D page, List<Threads.Point> points) {
        page.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        page.setColor(Color.WHITE);
        page.fillRect(0, 0, WIDTH, HEIGHT);
        page.setColor(INK);
        page.setFont(font(Font.BOLD, 26));
        page.drawString(
                "What a waiting client costs: a process, a thread, a virtual thread", 24, 42);
        page.setFont(font(Font.PLAIN, 17));
        var machine = "%d cores, Java %s, %s %s, %s";
        page.drawString(
                machine.formatted(
                        Runtime.getRuntime().availableProcessors(),
                        System.getProperty("java.version"),
                        System.getProperty("os.name"),
                        System.getProperty("os.version").replaceAll("-.*", ""),
                        LocalDate.now()),
                24,
                72);
        double half = WIDTH / 2.0;
        var left = new Rectangle2D.Double(0, TITLE, half, HEIGHT - TITLE);
        var right = new Rectangle2D.Double(half, TITLE, half, HEIGHT - TITLE);
        chart("Memory, MB (PSS)", points, Threads.Point::megabytes).draw(page, left);
        chart("Threads of the operating system", points, Threads.Point::threads).draw(page, right);
    }

    private static JFreeChart chart(
            String title, List<Threads.Point> points, ToDoubleFunction<Threads.Point> figure) {
        var lines = new XYSeriesCollection();
        var renderer = new XYLineAndShapeRenderer();
        for (var point : points) {
            if (lines.getSeriesIndex(point.kind()) < 0) {
                int line = lines.getSeriesCount();
                lines.addSeries(new XYSeries(point.kind()));
                boolean ours = point.kind().startsWith("ours");
                renderer.setSeriesPaint(line, COLORS.get(point.kind()));
                renderer.setSeriesStroke(line, new BasicStroke(ours ? 4 : 2.5f));
                double size = ours ? 11 : 8;
                renderer.setSeriesShape(
                        line, new Ellipse2D.Double(-size / 2, -size / 2, size, size));
            }
            lines.getSeries(point.kind()).add(point.idle(), figure.applyAsDouble(point));
        }
        double most = points.stream().mapToDouble(figure).max().orElseThrow();
        double least = points.stream().mapToDouble(figure).min().orElseThrow();
        int longest = points.stream().mapToInt(Threads.Point::idle).max().orElseThrow();
        int shortest = points.stream().mapToInt(Threads.Point::idle).min().orElseThrow();
        // To the right of the lines there is room for their names.
        var clients = axis("clients that say nothing", shortest / 1.3, longest * 18);
        var plot = new XYPlot(lines, clients, axis(null, least / 1.6, most * 1.6), renderer);
        plot.setBackgroundPaint(Color.WHITE);
        plot.setOutlineVisible(false);
        plot.setDomainGridlinesVisible(false);
        plot.setRangeGridlinePaint(GRID);
        plot.setRangeGridlineStroke(new BasicStroke(1));
        plot.setInsets(new RectangleInsets(4, 16, 8, 8));
        names(plot, lines, longest, Math.log10(most * 1.6 / least * 1.6));
        var chart = new JFreeChart(title, font(Font.BOLD, 20), plot, false);
        chart.getTitle().setPaint(INK);
        chart.setBackgroundPaint(Color.WHITE);
        return chart;
    }

    private static LogAxis axis(String label, double least, double most) {
        var axis = new LogAxis(label);
        axis.setRange(least, most);
        axis.setNumberFormatOverride(new DecimalFormat("#,##0"));
        axis.setLabelFont(font(Font.PLAIN, 17));
        axis.setTickLabelFont(font(Font.PLAIN, 16));
        axis.setLabelPaint(INK);
        axis.setTickLabelPaint(INK);
        axis.setMinorTickMarksVisible(false);
        return axis;
    }

    /** Each line's name at its end; names that would cover each other move apart. */
    private static void names(XYPlot plot, XYSeriesCollection lines, int longest, double decades) {
        var ends = new ArrayList<XYSeries>();
        for (int i = 0; i < lines.getSeriesCount(); i++) {
            ends.add(lines.getSeries(i));
        }
        ends.sort(Comparator.comparingDouble(Plot::lastValue));
        double gap = decades * 0.052;
        double lowest = Double.NEGATIVE_INFINITY;
        for (var line : ends) {
            lowest = Math.max(lowest + gap, Math.log10(lastValue(line)));
            double end = line.getMaxX() * (line.getMaxX() == longest ? 1.25 : 1.25);
            var name = new XYTextAnnotation((String) line.getKey(), end, Math.pow(10, lowest));
            name.setTextAnchor(TextAnchor.CENTER_LEFT);
            name.setFont(font(Font.BOLD, 17));
            name.setPaint(COLORS.get(line.getKey()));
            plot.addAnnotation(name);
        }
    }

    private static double lastValue(XYSeries line) {
        return line.getY(line.getItemCount() - 1).doubleValue();
    }
}
