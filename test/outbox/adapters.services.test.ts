import { mysqlAdapters, postgresAdapters, type OpenAdapter } from './adapters.ts';
import { sendingWorksWith } from './sending-contract.ts';
import { mysqlTables, postgresTables, type ServerTables } from './tables.ts';

sendingWorksOn(postgresTables(), postgresAdapters);
sendingWorksOn(mysqlTables(), mysqlAdapters);

function sendingWorksOn(tables: ServerTables, adapters: Readonly<Record<string, OpenAdapter>>): void {
  for (const [name, open] of Object.entries(adapters)) {
    sendingWorksWith(name, async () => ({ ...(await open(tables.url, 3)), tables }));
  }
}
