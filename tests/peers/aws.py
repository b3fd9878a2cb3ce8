"""Calls an AWS API as botocore, AWS's own client, does.

    aws.py ENDPOINT REGION CALLS

CALLS is a JSON array of [service, operation, parameters]; the answers are printed as one. Who asks
is the account's root: its access key id is "test", which MiniStack takes with any secret.
"""

import base64
import json
import sys

from botocore.session import Session


def main(endpoint, region, calls):
    session = Session()
    session.set_credentials("test", "test")
    clients = {}
    answers = []
    for service, operation, parameters in json.loads(calls):
        if service not in clients:
            clients[service] = session.create_client(
                service, region_name=region, endpoint_url=endpoint
            )
        answer = getattr(clients[service], operation)(**parameters)
        answer.pop("ResponseMetadata")
        answers.append(answer)
    print(json.dumps(answers, default=as_text))


def as_text(value):
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


main(*sys.argv[1:])
