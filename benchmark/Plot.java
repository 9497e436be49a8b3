//JAVA 21+
//DEPS org.jfree:jfreechart:1.5.6
//DEPS org.jfree:org.jfree.svg:5.0.7
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.jfree.chart.JFreeChart;
import org.jfree.chart.annotations.XYTextAnnotation;
import org.jfree.chart.axis.LogAxis;
import org.jfree.chart.axis.NumberTickUnit;
import org.jfree.chart.plot.XYPlot;
import org.jfree.chart.renderer.xy.XYLineAndShapeRenderer;
import org.jfree.chart.ui.RectangleInsets;
import org.jfree.chart.ui.TextAnchor;
import org.jfree.data.xy.XYDataItem;
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
import java.text.FieldPosition;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;

import javax.imageio.ImageIO;

/** One page that tells the story of {@link Threads} from the back row. */
final class Plot {
    private static final int WIDTH = 1240;
    private static final int HEIGHT = 640;
    private static final int TITLE = 116;

    /** Of a line of text, as a part of a chart's height. */
    private static final double TEXT_HEIGHT = 0.058;

    private static final Color INK = new Color(0x1f2328);
    private static final Color GRID = new Color(0xe1e4e8);

    /** Told apart by those who see colours differently, too. */
    private static final Map<String, Color> COLORS =
            Map.of(
                    "fork", new Color(0x6e7781),
                    "platform", new Color(0xd55e00),
                    "ours, platform", new Color(0xe69f00),
                    "virtual", new Color(0x56b4e9),
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
        page.drawString(
                "fork, platform, virtual: bare servers that store nothing; ours: this server",
                24,
                98);
        double half = WIDTH / 2.0;
        var left = new Rectangle2D.Double(0, TITLE, half, HEIGHT - TITLE);
        var right = new Rectangle2D.Double(half, TITLE, half, HEIGHT - TITLE);
        chart("Memory, MB", " MB", points, Threads.Point::megabytes).draw(page, left);
        chart("Threads of the operating system", "", points, Threads.Point::threads)
                .draw(page, right);
    }

    private static JFreeChart chart(
            String title,
            String unit,
            List<Threads.Point> points,
            ToDoubleFunction<Threads.Point> figure) {
        var lines = new XYSeriesCollection();
        var renderer = new XYLineAndShapeRenderer();
        for (var point : points) {
            if (lines.getSeriesIndex(point.kind()) < 0) {
                boolean ours = point.kind().startsWith("ours");
                double size = ours ? 12 : 8;
                int line = lines.getSeriesCount();
                renderer.setSeriesPaint(line, COLORS.get(point.kind()));
                renderer.setSeriesStroke(line, new BasicStroke(ours ? 5 : 2.5f));
                renderer.setSeriesShape(
                        line, new Ellipse2D.Double(-size / 2, -size / 2, size, size));
                lines.addSeries(new XYSeries(point.kind()));
            }
            lines.getSeries(point.kind()).add(point.idle(), figure.applyAsDouble(point));
        }
        var plot = new XYPlot(lines, clientsAxis(points), axis(points, figure), renderer);
        plot.setBackgroundPaint(Color.WHITE);
        plot.setOutlineVisible(false);
        plot.setDomainGridlinesVisible(false);
        plot.setRangeGridlinePaint(GRID);
        plot.setRangeGridlineStroke(new BasicStroke(1));
        plot.setInsets(new RectangleInsets(4, 16, 8, 8));
        addNames(plot, lines, unit);
        var chart = new JFreeChart(title, font(Font.BOLD, 22), plot, false);
        chart.getTitle().setPaint(INK);
        chart.setBackgroundPaint(Color.WHITE);
        return chart;
    }

    /** Leaves room to the right of the lines for their names. */
    private static LogAxis clientsAxis(List<Threads.Point> points) {
        var clients = points.stream().mapToInt(Threads.Point::idle).summaryStatistics();
        var axis = axis(clients.getMin() / 1.4, clients.getMax() * 70.0, clients.getMax());
        axis.setLabel("clients that are connected and say nothing");
        axis.setLabelFont(font(Font.PLAIN, 17));
        axis.setLabelPaint(INK);
        return axis;
    }

    /** Leaves room for names that move upwards. */
    private static LogAxis axis(
            List<Threads.Point> points, ToDoubleFunction<Threads.Point> figure) {
        var figures = points.stream().mapToDouble(figure).summaryStatistics();
        double least = Math.pow(10, Math.floor(Math.log10(figures.getMin())));
        return axis(least, figures.getMax() * 4, figures.getMax() * 4);
    }

    /** Numbers stand at powers of ten, up to {@code last}. */
    private static LogAxis axis(double least, double most, double last) {
        var axis = new LogAxis();
        axis.setRange(least, most);
        axis.setTickUnit(new NumberTickUnit(1));
        axis.setNumberFormatOverride(new UpTo(last));
        axis.setTickLabelFont(font(Font.PLAIN, 17));
        axis.setTickLabelPaint(INK);
        axis.setMinorTickMarksVisible(false);
        return axis;
    }

    /** Numbers up to a last one; nothing beyond. */
    private static final class UpTo extends DecimalFormat {
        private static final long serialVersionUID = 1;
        private final double last;

        UpTo(double last) {
            super("#,##0");
            this.last = last;
        }

        @Override
        public StringBuffer format(double value, StringBuffer text, FieldPosition position) {
            return value > last ? text.append(' ') : super.format(value, text, position);
        }
    }

    /** Each line's name and last value at its end; texts that would cover each other move up. */
    private static void addNames(XYPlot plot, XYSeriesCollection lines, String unit) {
        var range = plot.getRangeAxis().getRange();
        double gap = Math.log10(range.getUpperBound() / range.getLowerBound()) * TEXT_HEIGHT;
        double lowest = Double.NEGATIVE_INFINITY;
        var ends = new ArrayList<XYDataItem>();
        var names = new HashMap<XYDataItem, String>();
        for (int i = 0; i < lines.getSeriesCount(); i++) {
            var line = lines.getSeries(i);
            ends.add(line.getDataItem(line.getItemCount() - 1));
            names.put(ends.getLast(), (String) line.getKey());
        }
        ends.sort(Comparator.comparingDouble(XYDataItem::getYValue));
        for (var end : ends) {
            lowest = Math.max(lowest + gap, Math.log10(end.getYValue()));
            var text = "%s  %,.0f%s".formatted(names.get(end), end.getYValue(), unit);
            var name = new XYTextAnnotation(text, end.getXValue() * 1.3, Math.pow(10, lowest));
            name.setTextAnchor(TextAnchor.CENTER_LEFT);
            name.setFont(font(Font.BOLD, 17));
            name.setPaint(COLORS.get(names.get(end)));
            plot.addAnnotation(name);
        }
    }
}
