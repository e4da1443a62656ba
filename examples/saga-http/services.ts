/** Two services as any team might write them, here on plain node:http. In another language they would look the same. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { handler, Refused } from 'settle/participant';
import { nodeHandler } from 'settle/participant/node';

const stock = { tea: 5 };
const money = new Map([
  ['ann', 10],
  ['bob', 1],
]);

const reserve = handler({
  action: (call) => {
    const { cups } = call.payload as { cups: number };
    stock.tea -= cups;
    return { total: cups * 3 };
  },
  compensate: (call) => {
    stock.tea += (call.payload as { cups: number }).cups;
  },
});

const charge = handler((call) => {
  const { user, total } = call.payload as { user: string; total: number };
  const has = money.get(user) ?? 0;
  if (has < total) throw new Refused(`${user} is short of money`);
  money.set(user, has - total);
  return null;
});

export interface Services {
  readonly stockUrl: string;
  readonly walletUrl: string;
  teaLeft(): number;
  close(): void;
}

/** These keep their numbers in memory: with a database, a barrier in its transaction makes each call count once. */
export async function startServices(): Promise<Services> {
  const servers = [createServer(nodeHandler(reserve)), createServer(nodeHandler(charge))] as const;
  const urls = await Promise.all(
    servers.map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    }),
  );
  return {
    stockUrl: urls[0] ?? '',
    walletUrl: urls[1] ?? '',
    teaLeft: () => stock.tea,
    close() {
      for (const server of servers) {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}
