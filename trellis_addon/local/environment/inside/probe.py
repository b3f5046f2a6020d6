"""What this Python is, as one line of JSON; older ones than ours must understand this file."""

import json
import os
import platform
import struct
import sys
import sysconfig

if __name__ == "__main__":
    implementation = sys.implementation
    print(
        json.dumps(
            {
                "executable": sys.executable,
                "bits": struct.calcsize("P") * 8,
                "threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
                "system": sysconfig.get_platform(),
                "base": sys.base_prefix,
                "markers": {
                    "implementation_name": implementation.name,
                    "implementation_version": ".".join(map(str, implementation.version[:3])),
                    "os_name": os.name,
                    "platform_machine": platform.machine(),
                    "platform_python_implementation": platform.python_implementation(),
                    "platform_release": platform.release(),
                    "platform_system": platform.system(),
                    "platform_version": platform.version(),
                    "python_full_version": platform.python_version(),
                    "python_version": ".".join(map(str, sys.version_info[:2])),
                    "sys_platform": sys.platform,
                    "extra": "",
                },
            }
        )
    )
