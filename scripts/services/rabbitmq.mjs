import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { connect } from 'amqplib';

/** Memory and disk at which it would stop taking messages, far from what tests need and from filling this machine. */
const settings = [
  'vm_memory_high_watermark.absolute = 512MB',
  'disk_free_limit.absolute = 10MB',
  'log.console.level = warning',
];

/** Few threads, which sleep when they have nothing to do, and only this machine may join the node. */
const erlangFlags =
  '+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}';

/** @type {import('./services.mjs').Service} */
export const rabbitmq = {
  name: 'RabbitMQ',
  variable: 'SETTLE_TEST_RABBITMQ',
  exampleUrl: 'amqp://guest:guest@127.0.0.1:5672',
  // The script rabbitmq-server on Debian's PATH takes only its own user and settings; the real one lies beside this.
  binaries: ['rabbitmq-env', 'epmd'],
  folders: () => ['/usr/lib/rabbitmq/bin'].filter((folder) => existsSync(folder)),
  packages: ['rabbitmq-server'],
  user: 'rabbitmq',
  files: () => ({ 'rabbitmq.conf': settings, plugins: ['[].'] }),
  prepare: () => undefined,
  otherPorts: 2,
  // Nodes of Erlang find each other by epmd. One that RabbitMQ starts itself would stay behind as a daemon, and one that
  // is there belongs to somebody else: this node has its own, in its group of processes.
  serve: ({ folder, programs, port, otherPorts: [nodes, epmd] }) => [
    'sh',
    [
      '-c',
      '"$1" -address 127.0.0.1 -port "$ERL_EPMD_PORT" & exec "$0"',
      join(dirname(programs['rabbitmq-env']), 'rabbitmq-server'),
      programs.epmd,
    ],
    {
      ERL_EPMD_PORT: String(epmd),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_CRASH_DUMP_SECONDS: '0',
      RABBITMQ_NODENAME: 'settle@localhost',
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(nodes),
      RABBITMQ_CONF_ENV_FILE: join(folder, 'no-such-file'),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
      RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'no-such-file'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
      RABBITMQ_MNESIA_BASE: join(folder, 'data'),
      RABBITMQ_GENERATED_CONFIG_DIR: join(folder, 'generated'),
      RABBITMQ_LOG_BASE: join(folder, 'logs'),
      RABBITMQ_LOGS: '-',
      RABBITMQ_PID_FILE: join(folder, 'pid'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: erlangFlags,
      // Its script then becomes the node itself, instead of waiting for it: the end of the one is that of the other.
      RUNNING_UNDER_SYSTEMD: 'true',
    },
  ],
  stopSignal: 'SIGKILL',
  image: { name: 'rabbitmq:4', port: 5672, options: () => [], args: [] },
  url: (port) => `amqp://guest:guest@127.0.0.1:${port}`,
  async probe(url) {
    const connection = await connect(url, { timeout: 5_000 });
    await connection.close();
  },
  // Version 3 confirms a declaration before the log says that it is decided, which in one of some hundred cases happens up
  // to two seconds later: after a kill by then the durable queue is gone, with all that it had confirmed. That is not what
  // tests with a kill are about. Another declaration has the log written as far as this one.
  async beforeKill(url) {
    const connection = await connect(url, { timeout: 5_000 });
    const channel = await connection.createChannel();
    await channel.assertExchange('settle.before-kill', 'fanout', { durable: true });
    await channel.deleteExchange('settle.before-kill');
    await connection.close();
  },
};
