import { connect } from 'amqplib';
import {
  brokerOfThisFile,
  type LeftByFile,
  type PrivateBroker,
  privateBroker,
  type SharedBroker,
  type TestBroker,
} from './broker.ts';

export const sharedRabbit: SharedBroker = { service: 'rabbitmq', cleanUp: deleteAll };

/** The RabbitMQ of this run. Queues and exchanges that bear a name from `name()` are deleted after this file. */
export function testRabbit(): TestBroker {
  return brokerOfThisFile(sharedRabbit);
}

/** A RabbitMQ of one's own; takes some seconds, a restart too. Call it in `beforeAll` or in a test. */
export function rabbitServer(): Promise<PrivateBroker> {
  return privateBroker('privateRabbitmq');
}

/** AMQP has no list of what there is, and is content to delete what is not there. */
async function deleteAll(url: string, { names }: LeftByFile): Promise<void> {
  const connection = await connect(url);
  try {
    const channel = await connection.createChannel();
    for (const name of names) {
      await channel.deleteQueue(name);
      await channel.deleteExchange(name);
    }
  } finally {
    await connection.close();
  }
}
