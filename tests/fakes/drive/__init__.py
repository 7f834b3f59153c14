"""A stand-in for Google Drive (API v3): no published one knows resumable uploads, generated ids and the exact error reasons.

    with DriveServer() as server: ...                       # in a thread of its own
    async with DriveServer() as server: ...                 # in the event loop of the test
    with servers.drive_server() as server: ...              # a program: python -m tests.fakes.drive --port-file FILE

`server.url` is what stands for https://www.googleapis.com. The API, with the paths of the real one:

    GET|POST            /drive/v3/files                     list, create (metadata only)
    GET                 /drive/v3/files/generateIds
    GET|PATCH|DELETE    /drive/v3/files/ID                  get (alt=media: bytes, Range), update, delete for good
    POST                /drive/v3/files/ID/copy
    GET                 /drive/v3/files/ID/export
    GET|POST|DELETE     /drive/v3/files/ID/permissions[/ID]
    POST                /upload/drive/v3/files              ?uploadType=media|multipart|resumable
    PATCH               /upload/drive/v3/files/ID           the same: a new revision
    PUT|DELETE          the Location of a session           chunks, `bytes */N` questions, cancelling
    GET                 /drive/v3/changes[/startPageToken]
    GET                 /drive/v3/about  /drive/v3/drives[/ID]
    POST                /token                              service account (JWT), refresh_token, authorization_code grants
    GET                 /o/oauth2/auth                      the page where a person agrees: answers with a redirect and a code

Any bearer token is taken, for the user `me@example.com`, unless it was issued by /token or registered with /_users (then it is
that user's), or `require_token` is set. An e-mail that ends with .gserviceaccount.com is a service account: it has no quota.
The upload is authorized by its session's address alone, as in the real service.

The control surface, over HTTP for a program and as attributes in the same process:

    GET    /_files              {"files": [resource + {"path", "creates", "updates", "contents", "downloads"}]}, trashed ones
                                too. `path` is from "root/…" or "DRIVE_ID/…"; creates is how often this id was created (never
                                above 1), contents how often its bytes were replaced. In process: server.files()
    POST   /_files              put a file there: {"name", "parents": [id], "mimeType", "text" | "base64" | "exports": {type:
                                text}, "createdTime", "modifiedTime", "properties", "shortcutDetails", "trashed", …, and the
                                switches below} -> resource. In process: server.put(name, data, parent=…, **fields) -> id,
                                server.folder(name, parent=…) -> id, server.document(…) -> id, server.shortcut(…) -> id
    PATCH  /_files/ID           the same, for one that is there, going past every check; also {"text": …}
                                switches: "abusive": true (cannotDownloadAbusiveFile), "downloadable": false,
                                "access": {"*" or e-mail: "none"|"reader"|"writer"} (inherited by what is below it),
                                "children_limit": N
    GET    /_files/ID/content   the bytes. In process: server.data(id)
    GET    /_stats              {"requests": {operation: n}, "units": n, "writes": {id: n}, "files": n, "bytes": n, "sessions": n,
                                "uploaded": {email: bytes in this day}, "received": n, "sent": n, "failures": []}; received and
                                sent are bytes of bodies, whatever became of them. DELETE clears requests and writes.
                                In process: server.requests[operation], server.stats()
    GET|POST|DELETE /_faults    tests.fakes.drive.Fault as JSON (or a list); as in the GCS stand-in, and "reason", "message".
                                `key` is a part of the file's name or id. In process: server.faults.add(Fault(…))
    GET|POST /_clock            {"now": seconds}; POST {"advance": seconds} or {"now": seconds}. server.clock.advance(seconds)
    GET|POST /_settings         the fields of Settings: upload_limit (bytes in 24 h for each user), user_units, project_units
                                (per minute), incomplete_search, search_lag, groups_answered, require_token, token_seconds,
                                storage_limit, export_limit, children_limit, items_limit, depth_limit, page_limit, delay_ms,
                                discard_above, spool_above.
                                In process: server.settings
    POST   /_users              {"email", "token"?, "refresh_token"?, "scopes"?} -> {"email", "token"}. server.add_user(…)
    POST   /_drives             {"name", "id"?, "access"?} -> the shared drive, whose id is that of its root folder.
                                In process: server.drive(name, id=…, access=…)
    DELETE /_sessions           every upload session is lost (?status=410 for that answer instead of 404)

What is not obvious, and so in the real service: `name = 'x'` finds X too; `name contains` finds beginnings of words; a
document of an editor has a `size` that says nothing about its export; a file's properties hold 124 bytes each, key included,
else 403 propertyLengthLimitExceeded; createdTime can be written by create only, parents by addParents and removeParents only;
generated ids are for files and folders, not for documents and shortcuts; who may only read a folder gets 403
insufficientParentPermissions on create, but insufficientFilePermissions on update; the 750 GB of a day are told from too many
requests by the message alone ("User rate limit exceeded." with a full stop), and are checked when an upload begins.

Operations, for `requests` and faults:

    files.list  files.get  files.get.media  files.create  files.update  files.delete  files.copy  files.export
    files.generateIds  create.media  create.multipart  create.resumable.begin  update.media  update.multipart
    update.resumable.begin  resumable.chunk  resumable.query  resumable.cancel  changes.list  changes.getStartPageToken
    about.get  drives.list  drives.get  permissions.list  permissions.create  permissions.delete  token
"""

from __future__ import annotations

from tests.fakes.drive.faults import Fault, Faults, Kind
from tests.fakes.drive.server import DriveServer
from tests.fakes.drive.settings import Clock, Settings

__all__ = ["Clock", "DriveServer", "Fault", "Faults", "Kind", "Settings"]
