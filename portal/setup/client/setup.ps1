# Sets up a project that talks to Claude through the gateway at @BASE_URL@,
# and Claude Code too if you like. For Windows PowerShell 5.1 and PowerShell 7.
#
#   irm @SCRIPT_URL@ | iex
#   $env:CLAUDCODE_SETUP_ACTION = 'uninstall'; irm @SCRIPT_URL@ | iex
#
# The second takes the gateway out of Claude Code. It asks; what these variables of the environment
# say, it does not ask:
#
#   CLAUDCODE_API_KEY             the key, sk-cc-...
#   CLAUDCODE_SETUP_LANGUAGE      python or typescript
#   CLAUDCODE_SETUP_FOLDER        where to
#   CLAUDCODE_SETUP_OVERWRITE     yes or no: replace files that differ
#   CLAUDCODE_SETUP_INSTALL       yes or no: install the project's packages
#   CLAUDCODE_SETUP_WEB_TOOLS     yes or no: install the gateway's own packages of web tools
#   CLAUDCODE_SETUP_CLAUDE_CODE   yes or no: set Claude Code up
#
# All of it is one block: half a download runs nothing, and nothing of it stays in your session.
& {
    Set-StrictMode -Off
    $ErrorActionPreference = 'Stop'
    $base_url = '@BASE_URL@'
    $wheel = '@WHEEL@'
    $archives = '@ARCHIVES@'
    $windows = [Environment]::OSVersion.Platform -eq 'Win32NT'
    $utf8 = New-Object System.Text.UTF8Encoding $false

    function Get-Answer([string]$name, [string]$question, [string]$default) {
        $answer = [Environment]::GetEnvironmentVariable($name)
        if (-not $answer) {
            $answer = Read-Host "$question [$default]"
        }
        if (-not $answer) {
            $answer = $default
        }
        return $answer.Trim()
    }

    function Test-Agreed([string]$name, [string]$question, [string]$default) {
        return (Get-Answer $name $question $default) -match '^y(es)?$'
    }

    function Read-Key {
        $hidden = Read-Host 'API key (sk-cc-..., not shown)' -AsSecureString
        $pointer = [Runtime.InteropServices.Marshal]::SecureStringToBSTR($hidden)
        try {
            return [Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer)
        }
        finally {
            [Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer)
        }
    }

    # Status 0: nobody answered.
    function Get-Reply([string]$path, [string]$key) {
        try {
            $headers = @{ 'x-api-key' = $key }
            $body = Invoke-RestMethod -Uri ($base_url + $path) -Headers $headers -TimeoutSec 30 `
                -UseBasicParsing -MaximumRedirection 0
            return @{ status = 200; body = $body }
        }
        catch {
            $status = 0
            if ($_.Exception.Response) {
                $status = [int]$_.Exception.Response.StatusCode
            }
            return @{ status = $status; body = $null }
        }
    }

    # Returns what is wrong with the key, empty if it is good.
    function Get-KeyProblem([string]$key) {
        if ($key -cnotmatch '^sk-cc-[A-Za-z0-9]+$') {
            return 'This is no API key: a key is sk-cc- and then letters and digits.'
        }
        $reply = Get-Reply '/v1/key-status' $key
        if ($reply.status -eq 200) {
            if ($reply.body.status -eq 'active') {
                return ''
            }
            return "This API key is $($reply.body.status) now. Ask for another one."
        }
        if ($reply.status -eq 401) {
            return 'The gateway does not know this API key, or not from this address.'
        }
        if ($reply.status -eq 0) {
            throw "Cannot reach $base_url. Is the address right, and is the network there?"
        }
        if ($reply.status -eq 503) {
            throw "The gateway at $base_url is closed at the moment. Try again later."
        }
        throw "$base_url answered $($reply.status). Is it the gateway? Ask whoever runs it."
    }

    function Select-Key {
        $key = [Environment]::GetEnvironmentVariable('CLAUDCODE_API_KEY')
        if ($key) {
            $key = $key.Trim()
            $problem = Get-KeyProblem $key
            if ($problem) {
                throw "$problem (It is the one in CLAUDCODE_API_KEY.)"
            }
            return $key
        }
        foreach ($attempt in 1..3) {
            $key = (Read-Key).Trim()
            $problem = Get-KeyProblem $key
            if (-not $problem) {
                return $key
            }
            Write-Host $problem
        }
        throw 'Three keys were wrong. Nothing was written.'
    }

    function Get-Models([string]$key) {
        $reply = Get-Reply '/v1/models?limit=1000' $key
        if ($reply.status -ne 200) {
            throw "$base_url answered $($reply.status) when asked for its models."
        }
        $models = @($reply.body.data | ForEach-Object { $_.id } |
            Where-Object { $_ -cmatch '^[A-Za-z0-9][A-Za-z0-9._:@/-]*$' })
        if ($models.Count -eq 0) {
            throw 'This API key may use no model. Ask whoever gave it to you.'
        }
        return $models
    }

    function Select-Language {
        $answer = Get-Answer 'CLAUDCODE_SETUP_LANGUAGE' 'Python or TypeScript?' 'python'
        if ($answer -match '^p') {
            return 'python'
        }
        if ($answer -match '^t') {
            return 'typescript'
        }
        throw "There is no project in ${answer}: say python or typescript."
    }

    function Select-Folder {
        $answer = Get-Answer 'CLAUDCODE_SETUP_FOLDER' 'Folder of the project?' 'claudcode-project'
        # .NET would start at the folder of the process, not at that of the session.
        $state = $ExecutionContext.SessionState
        $folder = $state.Path.GetUnresolvedProviderPathFromPSPath($answer)
        [void][IO.Directory]::CreateDirectory($folder)
        return $folder
    }

    # Writes UTF-8 without a mark and with the line ends as they are here, LF.
    function Write-File([string]$folder, [string]$name, [string]$text) {
        $path = [IO.Path]::Combine($folder, $name)
        $text = $text.Replace("`r`n", "`n") + "`n"
        if ([IO.File]::Exists($path)) {
            if ([IO.File]::ReadAllText($path, $utf8) -ceq $text) {
                return
            }
            $question = "$path is there and differs. Replace it?"
            if (-not (Test-Agreed 'CLAUDCODE_SETUP_OVERWRITE' $question 'no')) {
                Write-Host "  kept     $name"
                return
            }
        }
        [IO.File]::WriteAllText($path, $text, $utf8)
        Write-Host "  written  $name"
    }

    # A .gitignore of yours that was kept gets one line, else the key could be committed.
    function Protect-Key([string]$folder) {
        $path = [IO.Path]::Combine($folder, '.gitignore')
        if ([IO.File]::ReadAllText($path, $utf8) -notmatch '(?m)^/?\.env\*?\r?$') {
            [IO.File]::AppendAllText($path, "`n.env`n", $utf8)
            Write-Host '  added    .env to your .gitignore'
        }
    }

    # Elsewhere than on Windows, where the folders of a user are the user's own: owner alone.
    function Write-EnvFile([string]$folder, [string]$text) {
        $path = [IO.Path]::Combine($folder, '.env')
        if (-not $windows) {
            if (-not [IO.File]::Exists($path)) {
                [IO.File]::WriteAllText($path, '', $utf8)
                & chmod 600 $path
                [IO.File]::WriteAllText($path, $text.Replace("`r`n", "`n") + "`n", $utf8)
                Write-Host '  written  .env'
                return
            }
            & chmod 600 $path
        }
        Write-File $folder '.env' $text
    }

    function Write-Project([string]$folder, [string]$language, [string]$key, [string]$model) {
        Write-Host "Writing the project to $folder"
@COMMON_FILES@
        Protect-Key $folder
@ENV_FILE@
        if ($language -eq 'python') {
            Write-PythonFiles $folder
        }
        else {
            Write-TypeScriptFiles $folder
        }
    }

    function Write-PythonFiles([string]$folder) {
@PYTHON_FILES@
    }

    function Write-TypeScriptFiles([string]$folder) {
@TYPESCRIPT_FILES@
    }

    function Find-Python {
        # What a program writes to its error stream would end the script in 5.1.
        $ErrorActionPreference = 'Continue'
        foreach ($name in 'python', 'python3', 'py') {
            if (Get-Command $name -CommandType Application -ErrorAction SilentlyContinue) {
                $null = & $name -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>&1
                if ($LASTEXITCODE -eq 0) {
                    return $name
                }
            }
        }
        return ''
    }

    function Find-Node {
        if (Get-Command 'node' -CommandType Application -ErrorAction SilentlyContinue) {
            return 'node'
        }
        return ''
    }

    # Returns whether it was done; what the programs say goes to the screen, not into the answer.
    # With $web_tools it installs the gateway's own packages, else the project's.
    function Install-Packages([string]$folder, [string]$language, [bool]$web_tools) {
        $ErrorActionPreference = 'Continue'
        Push-Location -LiteralPath $folder
        try {
            if ($language -eq 'python') {
                $python = Find-Python
                if (-not $python) {
                    Write-Host 'Python 3.9 or later is not here: install it, then see README.md.'
                    return $false
                }
                if (-not $web_tools) {
                    & $python -m venv .venv | Out-Host
                }
                $inside = '.venv/bin/python'
                if ($windows) {
                    $inside = '.venv\Scripts\python.exe'
                }
                $what = @('-r', 'requirements.txt')
                if ($web_tools) {
                    $what = @("$base_url/packages/$wheel")
                }
                & $inside -m pip install --disable-pip-version-check --quiet $what | Out-Host
                return $LASTEXITCODE -eq 0
            }
            # npm.ps1 may not run where scripts are not allowed; npm.cmd may.
            $npm = 'npm'
            if ($windows) {
                $npm = 'npm.cmd'
            }
            if (-not (Get-Command $npm -ErrorAction SilentlyContinue)) {
                Write-Host 'Node.js and npm are not here: install them, then see README.md.'
                return $false
            }
            $what = @()
            if ($web_tools) {
                foreach ($archive in $archives.Split(' ')) {
                    $name, $file = $archive.Split('=')
                    $what += "$name@$base_url/packages/$file"
                }
            }
            & $npm install --no-audit --no-fund --loglevel error $what | Out-Host
            return $LASTEXITCODE -eq 0
        }
        finally {
            Pop-Location
        }
    }

    $claude_code_python = @'
@CLAUDE_CODE_PYTHON@
'@

    $claude_code_node = @'
@CLAUDE_CODE_NODE@
'@

    # JSON is merged by Python or Node.js, whichever is here: the very programs that setup.sh uses.
    # They get the key by the environment: everyone can see arguments.
    function Edit-ClaudeCode([string]$action, [string]$key, [string[]]$models) {
        $python = Find-Python
        $node = Find-Node
        if (-not $python -and -not $node) {
            throw ("Neither Python 3 nor Node.js is here, and Claude Code's settings cannot be" +
                ' changed safely without one. Nothing of them was changed.')
        }
        $given = @{
            CLAUDCODE_ACTION = $action
            CLAUDCODE_API_KEY = $key
            CLAUDCODE_BASE_URL = $base_url
            CLAUDCODE_MODELS = $models -join ' '
        }
        $before = @{}
        $ErrorActionPreference = 'Continue'
        # Both programs are ASCII, and no mark must come before them.
        $OutputEncoding = [Text.Encoding]::ASCII
        try {
            foreach ($name in $given.Keys) {
                $before[$name] = [Environment]::GetEnvironmentVariable($name)
                Set-Item -LiteralPath "Env:$name" -Value $given[$name]
            }
            if ($python) {
                $claude_code_python | & $python '-' | Out-Host
            }
            else {
                $claude_code_node | & $node '-' | Out-Host
            }
            if ($LASTEXITCODE -ne 0) {
                throw "Claude Code's settings were not changed."
            }
        }
        finally {
            foreach ($name in $before.Keys) {
                if ($before[$name]) {
                    Set-Item -LiteralPath "Env:$name" -Value $before[$name]
                }
                else {
                    Remove-Item -LiteralPath "Env:$name" -ErrorAction SilentlyContinue
                }
            }
        }
    }

    function Start-Setup {
        if ($base_url -notmatch '^(https://|http://(localhost|127\.|\[::1\]))') {
            Write-Host "Careful: $base_url is not https, so your key travels unencrypted."
        }
        $key = Select-Key
        $models = @(Get-Models $key)
        $model = @($models | Where-Object { $_ -match 'sonnet' }) + $models | Select-Object -First 1
        $language = Select-Language
        $folder = Select-Folder
        Write-Project $folder $language $key $model
        $installed = $false
        if (Test-Agreed 'CLAUDCODE_SETUP_INSTALL' 'Install its packages now?' 'yes') {
            $installed = Install-Packages $folder $language $false
            if (-not $installed) {
                Write-Host ('The packages are not installed. The project is complete otherwise:' +
                    ' see its README.md.')
            }
            elseif (($wheel -or $archives) -and
                (Test-Agreed 'CLAUDCODE_SETUP_WEB_TOOLS' 'Install the packages for web tools too?' 'no') -and
                -not (Install-Packages $folder $language $true)) {
                Write-Host 'The packages for web tools are not installed. Nothing else needs them.'
            }
        }
        $question = 'Set Claude Code up with this key too?'
        if (Test-Agreed 'CLAUDCODE_SETUP_CLAUDE_CODE' $question 'no') {
            Edit-ClaudeCode 'install' $key $models
        }
        Write-Host ''
        Write-Host 'Ready. Now:'
        Write-Host "  cd '$($folder.Replace("'", "''"))'"
        if ($language -eq 'typescript') {
            if (-not $installed) {
                Write-Host '  npm install'
            }
            Write-Host '  npm run hello'
        }
        else {
            $python = if ($windows) { '.venv\Scripts\python' } else { '.venv/bin/python' }
            if (-not $installed) {
                Write-Host "  $(if ($windows) { 'py' } else { 'python3' }) -m venv .venv"
                Write-Host "  $python -m pip install -r requirements.txt"
            }
            Write-Host "  $python hello.py"
        }
    }

    $protocols = [Net.ServicePointManager]::SecurityProtocol
    try {
        # Windows PowerShell does not offer TLS 1.2 by itself on every machine.
        [Net.ServicePointManager]::SecurityProtocol = $protocols -bor [Net.SecurityProtocolType]::Tls12
        if ($env:CLAUDCODE_SETUP_ACTION -eq 'uninstall') {
            Edit-ClaudeCode 'uninstall' '' @()
        }
        else {
            Start-Setup
        }
    }
    catch {
        # No exit: it would close the window it was pasted into.
        Write-Host $_.Exception.Message -ForegroundColor Red
        $global:LASTEXITCODE = 1
    }
    finally {
        [Net.ServicePointManager]::SecurityProtocol = $protocols
    }
}
