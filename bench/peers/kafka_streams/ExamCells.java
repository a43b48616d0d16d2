// Kafka Streams on the JVM: the newest version of each exam as a KTable, cells as aggregates with adder and subtractor.
//
// Schools add up to districts, districts to counties, counties to the state, each a table grouped from the one below, so
// that the record caches swallow most of the traffic above the schools. Every regrouping goes through a repartition topic.
// Lettuce sends each changed cell without waiting for the answer: what was sent reaches Redis even if we are killed.

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisURI;
import io.lettuce.core.api.async.RedisAsyncCommands;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Properties;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.KeyValueMapper;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;

public final class ExamCells {
    private static final int FIGURES = 7; // results, with_scores, score_sum, level_1 to level_4

    /** The fields of a result event that the job needs. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    record Exam(
            @JsonProperty("assessment_id") String assessmentId,
            @JsonProperty("opportunity_id") String opportunityId,
            @JsonProperty("status") String status,
            @JsonProperty("status_date") String statusDate,
            @JsonProperty("sequence") long sequence,
            @JsonProperty("school") String school,
            @JsonProperty("grade") String grade,
            @JsonProperty("scale_score") Integer scaleScore,
            @JsonProperty("level") Integer level) {

        String id() {
            return assessmentId + "/" + opportunityId;
        }

        Version version() {
            long date = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.parse(statusDate));
            if (status.equals("reset") || school == null) {
                return new Version(date, sequence, "", "", 0, 0);
            }
            boolean scored = !status.equals("invalidated") && scaleScore != null && level != null;
            return new Version(
                    date, sequence, school, assessmentId + ":" + (grade == null ? "" : grade), scored ? scaleScore : 0, scored ? level : 0);
        }
    }

    /** One version of an exam: what orders it, and what it contributes. Level 0 is without a score. */
    record Version(long date, long sequence, String school, String cell, int score, int level) {
        Version newer(Version other) {
            boolean later = other.date > date || other.date == date && other.sequence > sequence;
            return later ? other : this;
        }

        long[] figures() {
            long[] figures = new long[FIGURES];
            figures[0] = 1;
            if (level > 0) {
                figures[1] = 1;
                figures[2] = score;
                figures[2 + level] = 1;
            }
            return figures;
        }
    }

    public static void main(String[] arguments) {
        var env = System.getenv();
        var uri = RedisURI.create(env.get("BENCH_REDIS_HOST"), Integer.parseInt(env.get("BENCH_REDIS_PORT")));
        RedisAsyncCommands<String, String> redis = RedisClient.create(uri).connect().async();

        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, env.get("BENCH_GROUP"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env.get("BENCH_KAFKA"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, env.get("BENCH_FOLDER") + "/state");
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        // The caches give way at each commit, and the state's figures are four commits away from the event.
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L * 1024 * 1024);
        properties.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        properties.put(
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                "yes".equals(env.get("BENCH_EXACTLY_ONCE"))
                        ? StreamsConfig.EXACTLY_ONCE_V2
                        : StreamsConfig.AT_LEAST_ONCE);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        properties.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6_000);
        properties.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 2_000);

        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, Version> exams = builder.stream(
                        env.get("BENCH_TOPIC"), Consumed.with(Serdes.ByteArray(), EXAMS))
                .map((student, exam) -> KeyValue.pair(exam.id(), exam.version()))
                .groupByKey(Grouped.with("exams", Serdes.String(), VERSIONS))
                .reduce(Version::newer, stored("newest", VERSIONS));
        KTable<String, long[]> schools = exams.groupBy(
                        // A null key is left out: a reset exam is counted nowhere.
                        (id, version) -> KeyValue.pair(
                                version.school().isEmpty() ? null : version.school() + "|" + version.cell(),
                                version.figures()),
                        Grouped.with("schools", Serdes.String(), FIGURE_ARRAYS))
                .aggregate(
                        () -> new long[FIGURES],
                        (key, figures, total) -> sum(total, figures, 1),
                        (key, figures, total) -> sum(total, figures, -1),
                        stored("schools", FIGURE_ARRAYS));
        KTable<String, long[]> districts = above(schools, "districts", code -> code.substring(0, 7) + "0000000");
        KTable<String, long[]> counties = above(districts, "counties", code -> code.substring(0, 2) + "000000000000");
        KTable<String, long[]> state = above(counties, "state", code -> "00000000000000");
        for (KTable<String, long[]> table : java.util.List.of(schools, districts, counties, state)) {
            table.toStream().foreach((key, figures) -> {
                int bar = key.indexOf('|');
                String text = LongStream.of(figures).mapToObj(Long::toString).collect(Collectors.joining(","));
                redis.hset("cells:" + key.substring(0, bar), key.substring(bar + 1), text);
            });
        }
        KafkaStreams streams = new KafkaStreams(builder.build(properties), properties);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
    }

    /** The table one level up: cells of the organizations that these belong to. */
    private static KTable<String, long[]> above(
            KTable<String, long[]> below, String name, java.util.function.UnaryOperator<String> parent) {
        KeyValueMapper<String, long[], KeyValue<String, long[]>> regroup =
                (key, figures) -> KeyValue.pair(parent.apply(key.substring(0, 14)) + key.substring(14), figures);
        return below.groupBy(regroup, Grouped.with(name, Serdes.String(), FIGURE_ARRAYS))
                .aggregate(
                        () -> new long[FIGURES],
                        (key, figures, total) -> sum(total, figures, 1),
                        (key, figures, total) -> sum(total, figures, -1),
                        stored(name, FIGURE_ARRAYS));
    }

    private static long[] sum(long[] total, long[] figures, int sign) {
        long[] sums = new long[FIGURES];
        for (int i = 0; i < FIGURES; i++) {
            sums[i] = total[i] + sign * figures[i];
        }
        return sums;
    }

    private static <V> Materialized<String, V, KeyValueStore<Bytes, byte[]>> stored(String name, Serde<V> values) {
        return Materialized.<String, V, KeyValueStore<Bytes, byte[]>>as(name)
                .withKeySerde(Serdes.String())
                .withValueSerde(values);
    }

    private static <T> Serde<T> serde(Serializer<T> write, Deserializer<T> read) {
        return Serdes.serdeFrom(
                (topic, value) -> value == null ? null : write.serialize(topic, value),
                (topic, bytes) -> bytes == null ? null : read.deserialize(topic, bytes));
    }

    private static final ObjectReader READER = new ObjectMapper().readerFor(Exam.class);

    private static final Serde<Exam> EXAMS = serde(
            (topic, exam) -> {
                throw new UnsupportedOperationException("exams are only read");
            },
            (topic, bytes) -> {
                try {
                    return READER.readValue(bytes);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            });

    private static final Serde<Version> VERSIONS = serde(
            (topic, version) -> {
                byte[] cell = version.cell().getBytes(StandardCharsets.UTF_8);
                byte[] school = version.school().getBytes(StandardCharsets.UTF_8);
                return ByteBuffer.allocate(25 + school.length + cell.length)
                        .putLong(version.date())
                        .putLong(version.sequence())
                        .putInt(version.score())
                        .putInt(version.level())
                        .put((byte) school.length)
                        .put(school)
                        .put(cell)
                        .array();
            },
            (topic, bytes) -> {
                ByteBuffer in = ByteBuffer.wrap(bytes);
                long date = in.getLong();
                long sequence = in.getLong();
                int score = in.getInt();
                int level = in.getInt();
                int length = in.get();
                String school = new String(bytes, 25, length, StandardCharsets.UTF_8);
                String cell = new String(bytes, 25 + length, bytes.length - 25 - length, StandardCharsets.UTF_8);
                return new Version(date, sequence, school, cell, score, level);
            });

    private static final Serde<long[]> FIGURE_ARRAYS = serde(
            (topic, figures) -> {
                ByteBuffer out = ByteBuffer.allocate(8 * FIGURES);
                out.asLongBuffer().put(figures);
                return out.array();
            },
            (topic, bytes) -> {
                long[] figures = new long[FIGURES];
                ByteBuffer.wrap(bytes).asLongBuffer().get(figures);
                return figures;
            });
}
