//JAVA 21+
//DEPS org.jfree:jfreechart:1.5.6
//DEPS org.jfree:org.jfree.svg:5.0.7
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.jfree.chart.ChartRenderingInfo;
import org.jfree.chart.JFreeChart;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.chart.ui.RectangleEdge;
import org.jfree.chart.ui.RectangleInsets;
import org.jfree.data.xy.XYSeries;
import org.jfree.data.xy.XYSeriesCollection;
import org.jfree.svg.SVGGraphics2D;
import org.jfree.svg.ViewBox;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.geom.Ellipse2D;
import java.awt.geom.Line2D;
import java.awt.geom.Rectangle2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.DecimalFormat;
import java.time.LocalDate;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;

import javax.imageio.ImageIO;

/**
 * Draws the figures of {@link Threads}, large enough for the last row of a classroom. The
 * background is white, so the chart is readable on a dark page, too.
 */
final class Plot {
    private static final int WIDTH = 1280;
    private static final int HEIGHT = 720;
    private static final int TITLE = 100;

    /** The width for the names, to the right of the lines. */
    private static final int NAMES = 320;

    private static final int NAME_HEIGHT = 58;
    private static final Color INK = new Color(0x1f2328);
    private static final Color GRID = new Color(0xd0d7de);

    /** A hue for each kind of thread; the line of our server is darker and thicker. */
    private static final Map<String, Color> COLORS =
            Map.of(
                    "fork", new Color(0x57606a),
                    "platform", new Color(0xd15704),
                    "ours, platform", new Color(0x7a3300),
                    "event loop", new Color(0x1a7f37),
                    "virtual", new Color(0x1f7fcc),
                    "ours, virtual", new Color(0x003f7d));

    private Plot() {}

    /** Writes {@code threads.svg} and {@code threads.png}. */
    static void draw(List<Threads.Point> points, Path folder) throws IOException {
        System.setProperty("java.awt.headless", "true");
        var svg = new SVGGraphics2D(WIDTH, HEIGHT);
        page(svg, points);
        var view = new ViewBox(0, 0, WIDTH, HEIGHT); // so that a page can scale it
        var document = svg.getSVGElement(null, true, view, null, null);
        Files.writeString(folder.resolve("threads.svg"), document);
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
        page.setFont(font(Font.BOLD, 34));
        page.drawString("A waiting client: process, thread, virtual thread, event loop", 24, 50);
        page.setFont(font(Font.PLAIN, 20));
        page.drawString(
                "ours: this server. The others accept, read and reply, but store no message."
                        + " %d cores, Java %s, %s %s, %s"
                                .formatted(
                                        Runtime.getRuntime().availableProcessors(),
                                        System.getProperty("java.version"),
                                        System.getProperty("os.name"),
                                        System.getProperty("os.version").replaceAll("-.*", ""),
                                        LocalDate.now()),
                24,
                88);
        chart(page, points);
    }

    private static void chart(Graphics2D page, List<Threads.Point> points) {
        var lines = new XYSeriesCollection();
        var renderer = new XYLineAndShapeRenderer();
        var ends = new LinkedHashMap<String, Threads.Point>();
        for (var point : points) {
            if (ends.put(point.kind(), point) == null) {
                boolean ours = point.kind().startsWith("ours");
                double size = ours ? 14 : 10;
                int line = lines.getSeriesCount();
                renderer.setSeriesPaint(line, COLORS.get(point.kind()));
                renderer.setSeriesStroke(line, new BasicStroke(ours ? 6 : 3));
                renderer.setSeriesShape(
                        line, new Ellipse2D.Double(-size / 2, -size / 2, size, size));
                lines.addSeries(new XYSeries(point.kind()));
            }
            lines.getSeries(point.kind()).add(point.idle(), point.megabytes());
        }
        var clients = axis("idle clients", points, Threads.Point::idle);
        var memory = axis("memory in MB", points, Threads.Point::megabytes);
        var plot = new XYPlot(lines, clients, memory, renderer);
        plot.setBackgroundPaint(Color.WHITE);
        plot.setOutlineVisible(false);
        plot.setDomainGridlinePaint(GRID);
        plot.setDomainGridlineStroke(new BasicStroke(1));
        plot.setRangeGridlinePaint(GRID);
        plot.setRangeGridlineStroke(new BasicStroke(1));
        plot.setInsets(new RectangleInsets(4, 16, 12, NAMES));
        var chart = new JFreeChart(null, null, plot, false);
        chart.setBackgroundPaint(Color.WHITE);
        var drawn = new ChartRenderingInfo();
        chart.draw(page, new Rectangle2D.Double(0, TITLE, WIDTH, HEIGHT - TITLE), null, drawn);
        addNames(page, List.copyOf(ends.values()), plot, drawn.getPlotInfo().getDataArea());
    }

    /** Returns a logarithmic axis with a number at each power of ten. */
    private static LogAxis axis(
            String what, List<Threads.Point> points, ToDoubleFunction<Threads.Point> figure) {
        var figures = points.stream().mapToDouble(figure).summaryStatistics();
        var axis = new LogAxis(what + ", logarithmic");
        axis.setRange(figures.getMin() / 1.3, figures.getMax() * 1.3);
        axis.setTickUnit(new NumberTickUnit(1));
        axis.setNumberFormatOverride(new DecimalFormat("#,##0"));
        axis.setTickLabelFont(font(Font.PLAIN, 20));
        axis.setTickLabelPaint(INK);
        axis.setMinorTickMarksVisible(false);
        axis.setLabelFont(font(Font.PLAIN, 20));
        axis.setLabelPaint(INK);
        return axis;
    }

    /** Draws each line's name and last values at its end, further down if another is there. */
    private static void addNames(
            Graphics2D page, List<Threads.Point> ends, XYPlot plot, Rectangle2D area) {
        double last = 0;
        var fromTop = Comparator.comparingDouble(Threads.Point::megabytes).reversed();
        for (var end : ends.stream().sorted(fromTop).toList()) {
            double x = plot.getDomainAxis().valueToJava2D(end.idle(), area, RectangleEdge.BOTTOM);
            double y = plot.getRangeAxis().valueToJava2D(end.megabytes(), area, RectangleEdge.LEFT);
            last = Math.max(last + NAME_HEIGHT, y);
            page.setPaint(COLORS.get(end.kind()));
            page.setStroke(new BasicStroke(1.5f));
            page.draw(new Line2D.Double(x + 8, y, x + 24, last));
            page.setFont(font(Font.BOLD, 22));
            var name = "%s  %,.0f MB".formatted(end.kind(), end.megabytes());
            page.drawString(name, (float) x + 30, (float) last + 7);
            page.setFont(font(Font.PLAIN, 20));
            var threads = "%,.0f OS threads".formatted(end.threads());
            page.drawString(threads, (float) x + 30, (float) last + 31);
        }
    }
}
