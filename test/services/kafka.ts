import { Admin } from '@platformatic/kafka';
import { brokersOf } from '../../scripts/services/kafka.mjs';
import {
  brokerOfThisFile,
  type LeftByFile,
  type PrivateBroker,
  privateBroker,
  type SharedBroker,
  type TestBroker,
} from './broker.ts';

export const sharedKafka: SharedBroker = { service: 'kafka', cleanUp: deleteTopics };

interface WithBrokers {
  /** What clients of Kafka take in place of a URL: `127.0.0.1:9092`. */
  readonly brokers: string[];
}

export interface TestKafka extends TestBroker, WithBrokers {
  /** Makes the topic `name(label)`, and gives back this name; nobody else makes one by using it. */
  createTopic(label: string, options?: TopicOptions): Promise<string>;
}

export interface TopicOptions {
  /** 1 by default. */
  readonly partitions?: number;
}

/** The Kafka of this run, a single broker. Topics whose name begins with that of this file are deleted after it. */
export function testKafka(): TestKafka {
  const broker = brokerOfThisFile(sharedKafka);
  return {
    get url() {
      return broker.url;
    },
    get brokers() {
      return brokersOf(broker.url);
    },
    name: (label) => broker.name(label),
    createTopic: (label, options) => createTopic(broker.url, broker.name(label), options),
  };
}

export interface PrivateKafka extends PrivateBroker, WithBrokers {
  createTopic(name: string, options?: TopicOptions): Promise<string>;
}

/** A Kafka of one's own; takes some seconds, a restart too. Call it in `beforeAll` or in a test. */
export async function kafkaBroker(): Promise<PrivateKafka> {
  const broker = await privateBroker('privateKafka');
  return {
    ...broker,
    brokers: brokersOf(broker.url),
    createTopic: (name, options) => createTopic(broker.url, name, options),
  };
}

export async function createTopic(
  url: string,
  name: string,
  { partitions = 1 }: TopicOptions = {},
): Promise<string> {
  await withAdmin(url, (admin) => admin.createTopics({ topics: [name], partitions, replicas: 1 }));
  return name;
}

async function deleteTopics(url: string, { prefix }: LeftByFile): Promise<void> {
  await withAdmin(url, async (admin) => {
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix));
    if (topics.length > 0) await admin.deleteTopics({ topics });
  });
}

async function withAdmin(url: string, use: (admin: Admin) => Promise<unknown>): Promise<void> {
  const admin = new Admin({ clientId: 'settle-test', bootstrapBrokers: brokersOf(url) });
  try {
    await use(admin);
  } finally {
    await admin.close();
  }
}
