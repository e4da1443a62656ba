import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cache } from '../lib/paths.mjs';
import { fetchJars } from './maven.mjs';

const version = '4.3.1';
const oldestJava = 17;
const pins = readFileSync(new URL('kafka-jars.txt', import.meta.url), 'utf8');

/** One process is broker and controller; everything that is replicated has one copy, and nothing waits for company. */
const settings = {
  'process.roles': 'broker,controller',
  'node.id': '1',
  'listener.security.protocol.map': 'CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT',
  'controller.listener.names': 'CONTROLLER',
  'inter.broker.listener.name': 'CLIENTS',
  // A name that is mistyped is to be an error, as it is in production.
  'auto.create.topics.enable': 'false',
  'offsets.topic.num.partitions': '1',
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.num.partitions': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'share.coordinator.state.topic.num.partitions': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  'group.initial.rebalance.delay.ms': '0',
  // After a kill its controller takes the broker for alive so long, and refuses the new one.
  'broker.session.timeout.ms': '2000',
  'broker.heartbeat.interval.ms': '200',
  'num.network.threads': '2',
  'num.io.threads': '2',
  'log.cleaner.dedupe.buffer.size': '2097152',
};

const jvm = [
  '-Xmx256m',
  // On two processors these start in half the time.
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
];

/** @type {import('./services.mjs').Service} */
export const kafka = {
  name: 'Kafka',
  variable: 'SETTLE_TEST_KAFKA',
  exampleUrl: 'kafka://127.0.0.1:9092',
  binaries: ['java'],
  folders: () => (process.env.JAVA_HOME ? [join(process.env.JAVA_HOME, 'bin')] : []),
  whyUnsuitable: whyTooOld,
  packages: ['default-jre-headless'],
  // Nobody's package holds it; Maven Central has every part of it.
  fetch: () => fetchJars(`kafka-${version}`, pins, cache),
  files: ({ folder }) => ({
    'server.properties': propertiesOf({ ...settings, ...placeOf(folder, 9092, 9093) }),
  }),
  prepare: ({ folder, programs, fetched }) => [
    programs.java,
    [
      ...javaOf(folder, fetched),
      'kafka.tools.StorageTool',
      'format',
      '--config',
      join(folder, 'server.properties'),
      '--cluster-id',
      'c2V0dGxlLW9mLXRlc3RzIQ',
    ],
  ],
  otherPorts: 1,
  serve: ({ folder, programs, fetched, port, otherPorts: [controller] }) => [
    programs.java,
    [
      ...javaOf(folder, fetched),
      'kafka.Kafka',
      join(folder, 'server.properties'),
      ...propertiesOf(placeOf(folder, port, controller)).flatMap((line) => ['--override', line]),
    ],
  ],
  stopSignal: 'SIGKILL',
  image: {
    name: `apache/kafka:${version}`,
    port: 9092,
    options: (port) =>
      Object.entries({
        ...settings,
        listeners: 'CLIENTS://:9092,CONTROLLER://:9093',
        'advertised.listeners': `CLIENTS://127.0.0.1:${port}`,
        'controller.quorum.voters': '1@localhost:9093',
      }).flatMap(([name, value]) => ['-e', `KAFKA_${name.toUpperCase().replaceAll('.', '_')}=${value}`]),
    args: [],
  },
  url: (port) => `kafka://127.0.0.1:${port}`,
  async probe(url) {
    // It takes a while to load, and whoever starts another service does not need it.
    const { Admin } = await import('@platformatic/kafka');
    const admin = new Admin({
      clientId: 'settle-probe',
      bootstrapBrokers: brokersOf(url),
      connectTimeout: 5_000,
      requestTimeout: 5_000,
      retries: false,
    });
    try {
      const { brokers } = await admin.metadata({ topics: [] });
      // It answers before its controller lets it lead anything.
      if (brokers.size === 0) throw new Error('no broker is ready yet');
    } finally {
      await admin.close();
    }
  },
};

/**
 * `kafka://one:9092,two:9092`, also without its scheme, as every client of Kafka takes it.
 * @param {string} url
 * @returns {string[]}
 */
export function brokersOf(url) {
  return url.replace(/^kafka:\/\//, '').split(',');
}

function placeOf(folder, port, controller) {
  return {
    'log.dirs': join(folder, 'data'),
    listeners: `CLIENTS://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
  };
}

function propertiesOf(values) {
  return Object.entries(values).map(([name, value]) => `${name}=${value}`);
}

function javaOf(folder, jars) {
  // Parts of the system's own code are unpacked into it.
  return [...jvm, `-Djava.io.tmpdir=${folder}`, '-cp', join(jars, '*')];
}

/** Nothing when this Java runs Kafka. */
function whyTooOld({ java }) {
  return new Promise((resolve) => {
    execFile(java, ['-version'], (error, _stdout, stderr) => {
      // Before 9 it called itself 1.8.
      const found = /version "(?:1\.)?(\d+)/.exec(stderr)?.[1];
      if (error !== null || found === undefined) resolve(`${java} tells no version`);
      else if (Number(found) < oldestJava)
        resolve(`${java} is Java ${found}, and Kafka needs ${oldestJava} or newer`);
      else resolve(undefined);
    });
  });
}
