"""What a program that uses kafka-python does: administer, produce, consume in a group, go on from there."""

import sys

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import TopicPartition

bootstrap = sys.argv[1]
topic, count = "python", 200

admin = KafkaAdminClient(bootstrap_servers=bootstrap)
admin.create_topics([NewTopic(name=topic, num_partitions=3, replication_factor=1)])
try:
    admin.create_topics([NewTopic(name=topic, num_partitions=3, replication_factor=1)])
    raise SystemExit("the topic was created twice")
except TopicAlreadyExistsError:
    pass

producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type="gzip")


def produce(first):
    sent = [
        producer.send(topic, key=b"k%d" % (i % 7), value=b"%d" % i, headers=[("n", b"%d" % i)])
        for i in range(first, first + count)
    ]
    for future in sent:
        future.get(timeout=30)


def consume(first):
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id="python",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=30_000,
    )
    by_key, seen = {}, set()
    for record in consumer:
        number = int(record.value)
        assert record.headers == [("n", record.value)], record
        assert by_key.get(record.key, -1) < number, f"{record.key} is out of order"
        by_key[record.key] = number
        seen.add(number)
        if len(seen) == count:
            break
    assert seen == set(range(first, first + count)), sorted(seen)
    consumer.commit()
    consumer.close()


produce(0)
consume(0)
produce(count)
consume(count)

reader = KafkaConsumer(bootstrap_servers=bootstrap)
partitions = [TopicPartition(topic, p) for p in sorted(reader.partitions_for_topic(topic))]
assert len(partitions) == 3, partitions
assert sum(reader.end_offsets(partitions).values()) == 2 * count
assert sum(reader.beginning_offsets(partitions).values()) == 0
reader.close()
producer.close()
admin.delete_topics([topic])
admin.close()
print("done")
